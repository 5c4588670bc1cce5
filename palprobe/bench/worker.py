"""The parent's end of a cell's process: asks, waits until a deadline, and tells a killed process from a failed one."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from typing import IO, Any, cast

from palprobe.bench.job import Job
from palprobe.errors import BenchError

GRACE_SECONDS = 10.0  # to end by itself
COMMAND = (sys.executable, "-m", "palprobe.bench.cell")


class OutOfTime(Exception):  # noqa: N818 - an agreed end, not an error
    """The deadline came before the answer."""


class Worker:
    """A fresh process that measures one job.

    Args:
        job: what it measures.
        deadline: of `time.monotonic`, after which nothing is waited for; None: none.

    Raises:
        BenchError: the job failed, or its process was killed.
        OutOfTime: the deadline has passed.
    """

    def __init__(self, job: Job, deadline: float | None) -> None:
        self.job, self._deadline = job, deadline
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        try:
            self.prepared = self._ask(asdict(job))
        except BaseException:
            self.close()
            raise

    def ask(self, measurement: str) -> dict[str, float]:
        """One measurement: train, infer or encode.

        Raises:
            as the class.
        """
        return self._ask(measurement)

    def close(self) -> None:
        """Ends the process, by force if it does not answer."""
        self._process.kill()
        self._process.wait(GRACE_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            cast("IO[bytes]", pipe).close()

    def _ask(self, request: Any) -> dict[str, Any]:
        stdin = cast("IO[bytes]", self._process.stdin)
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        line = self._read_line()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchError(str(answer["error"]))
        return answer

    def _read_line(self) -> bytes:
        stdout = cast("IO[bytes]", self._process.stdout)
        if self._deadline is not None:
            ready, _, _ = select.select([stdout], [], [], max(0.0, self._deadline - time.monotonic()))
            if not ready:
                raise OutOfTime
        return stdout.readline()

    def _ended(self) -> BenchError:
        """Why the process is gone."""
        code = self._process.wait(GRACE_SECONDS)
        if code < 0:
            hint = " (out of memory, if you did not do it)" if -code == signal.SIGKILL else ""
            return BenchError(f"its process was ended by signal {-code}{hint}")
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return BenchError(f"its process ended with code {code}: {lines[-1] if lines else 'no message'}")
