"""One cell in a process of its own: a description on stdin, then a line for each measurement that is asked for.

Memory is the process's own and nothing of an earlier cell is in it. The process stays between measurements, so that
the parent can let the integrations take turns and a disturbance of the machine meets all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palprobe.bench.apart import AudioApart
from palprobe.bench.job import Job
from palprobe.bench.ways import parse_way
from palprobe.distributed import machine_name
from palprobe.encoders import load_encoder
from palprobe.encoders.windows import encode_clips
from palprobe.errors import PalprobeError
from palprobe.integrations import build_integration
from palprobe.llm.adapters import make_trainable
from palprobe.llm.model import left_padded
from palprobe.llm.untrained import build_untrained
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder
from palprobe.training.cost import Meter
from palprobe.training.step import answer_loss

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SMOOTHING = 0.1
LEARNING_RATE = 1e-4
LORA_RANK = 8
# Of mallopt: glibc gives large blocks back to the system and pages them in anew at every step, which costs the
# integration with the larger activations most. While seconds are measured they are kept, for all alike.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
FIRST_TO_DIE = "1000"  # of oom_score_adj: when memory runs out, the kernel ends this process and no other


class LLMCell:
    """An LLM with random weights, one integration, and a batch of clips and questions of equal length."""

    def __init__(self, job: Job) -> None:
        torch.manual_seed(0)
        dtype = DTYPES[job.dtype]
        way = parse_way(job.way)
        self.job = job
        self.llm = build_untrained(job.config or {}, device=job.device, dtype=dtype)
        make_trainable(self.llm, job.trainable, lora_rank=LORA_RANK, seed=0)
        self.llm.to(job.device, dtype)
        made = build_integration(way.integration, dim=job.dim, shape=self.llm.shape, section=way.section, seed=0)
        self.integration = made.to(job.device, dtype)
        self.features = torch.randn(job.batch, job.audio_tokens, job.dim).to(job.device, dtype)
        self.mask = torch.ones(job.batch, job.audio_tokens, dtype=torch.bool, device=job.device)
        ids = torch.randint(self.llm.model.config.get_text_config().vocab_size, (job.batch, job.text_tokens + 1))
        self.text = left_padded(ids[:, :-1].tolist(), device=job.device)
        self.targets = ids[:, 1:][:, -job.answer_tokens :].to(job.device)
        modules = (self.integration, self.llm)
        self.parameters = [value for module in modules for value in module.parameters()]
        self.trained = [value for value in self.parameters if value.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=LEARNING_RATE)
        self.apart = AudioApart(job.text_tokens) if way.apart else contextlib.nullcontext()

    def prepare(self) -> dict[str, Any]:
        """First calls, which are no fair timings and show the peaks: inference, then a training step."""
        meter, _ = self._meter()
        self.infer()
        inference = meter.peak_bytes
        meter, resting = self._meter()
        saved = SavedBytes([*self.parameters, *self.llm.stacked_weights])
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
            self.train()
        peak = meter.peak_bytes
        keep_memory()
        self.train()  # fills what is kept
        return {
            "inference_peak_bytes": inference,
            "peak_bytes": peak,
            "step_bytes": max(0, peak - resting),
            "saved_bytes": saved.total,
            "memory_method": meter.method,
            "threads": torch.get_num_threads(),
            "machine": machine_name(self.job.device),
        }

    def train(self) -> dict[str, float]:
        """Seconds of one step: connector, LLM, loss on the answer, backward, clipping, AdamW."""
        start = self._now()
        with self.apart:
            context = self.integration(self.features, self.mask)
            logits = self.llm(self.text, context, logits_to_keep=self.targets.shape[1])
        torch.autograd.backward(answer_loss(logits, self.targets, SMOOTHING))
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"train_seconds": self._now() - start}

    @torch.inference_mode()
    def infer(self) -> dict[str, float]:
        """Seconds from features to the first token, and for each further one."""
        written: list[float] = []
        hook = self.llm.model.register_forward_hook(lambda *_: written.append(self._now()))
        start = self._now()
        try:
            with self.apart:
                context = self.integration(self.features, self.mask)
                self.llm.generate(self.text, context, max_new_tokens=1 + self.job.new_tokens)
        finally:
            hook.remove()
        return {
            "prefill_seconds": written[0] - start,
            "decode_seconds": (written[-1] - written[0]) / self.job.new_tokens,
        }

    def _meter(self) -> tuple[Meter, int]:
        """A fresh meter and what is resident now."""
        meter = Meter(self.job.device)
        return meter, meter.peak_bytes

    def _now(self) -> float:
        if self.job.device != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()


class SavedBytes:
    """Bytes that autograd keeps for the backward pass: each storage once, weights not."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._seen = {weight.untyped_storage().data_ptr() for weight in weights}
        self.total = 0

    def pack(self, tensor: Tensor) -> Tensor:
        """Called for every tensor that is saved; all of them stay alive until the backward pass."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.total += storage.nbytes()
        return tensor


def keep_memory() -> None:
    """Has glibc keep what is freed; other allocators do, or are left alone."""
    with contextlib.suppress(AttributeError, OSError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(M_MMAP_MAX, 0)
        allocator.mallopt(M_TRIM_THRESHOLD, -1)  # never


class EncoderCell:
    """An encoder, and a batch of clips that are as long as so many of its tokens."""

    def __init__(self, job: Job) -> None:
        self.encoder = load_encoder(parse_encoder(job.encoder), EncoderSection(), device=job.device)
        self.seconds = job.audio_tokens / (self.encoder.frame_rate * self.encoder.bands)
        samples = max(1, round(self.seconds * self.encoder.sample_rate))
        noise = 0.1 * torch.randn(job.batch, samples, generator=torch.Generator().manual_seed(0))
        self.waveforms = list(noise)

    def prepare(self) -> dict[str, Any]:
        """A first call, which is no fair timing."""
        self.encode()
        return {"audio_seconds": self.seconds}

    def encode(self) -> dict[str, float]:
        """Seconds for the batch, its front end included; features come back to the CPU, so nothing is waited for."""
        start = time.perf_counter()
        encode_clips(self.encoder, self.waveforms, [self.encoder.depth])
        return {"encode_seconds": time.perf_counter() - start}


def main() -> None:
    """Answers each line of stdin with a line of JSON on stdout; an error is an answer too, and the last one."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_DIE)
    try:
        job = Job(**json.loads(sys.stdin.readline()))
        cell: LLMCell | EncoderCell = LLMCell(job) if job.kind == "llm" else EncoderCell(job)
        _answer(cell.prepare())
        for line in sys.stdin:
            measure: Callable[[], dict[str, float]] = getattr(cell, json.loads(line))
            _answer(measure())
    except (PalprobeError, MemoryError, RuntimeError) as error:  # out of memory is a RuntimeError of torch
        _answer({"error": (str(error).strip() or type(error).__name__).splitlines()[0]})


def _answer(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
