"""Stands in for a cell's process: answers at once with made-up numbers, or fails in the way that its job names."""

import json
import os
import signal
import sys
import time
from pathlib import Path

SECONDS = {"plits": 8.0, "plits-apart": 5.0, "lal": 2.0, "logmel": 1.0}
BYTES = {"plits": 4000, "plits-apart": 4000, "lal": 1000}


def answer(values):
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


job = json.loads(sys.stdin.readline())
name = job["way"] or job["encoder"]
log = Path(os.environ["FAKE_CELL_LOG"])
if name == "flamingo":
    os.kill(os.getpid(), signal.SIGKILL)
if name == "pal@v3":
    answer({"error": "cannot allocate 9 EiB"})
    sys.exit()
if name == "pal@v1":
    sys.exit("something broke")
size = BYTES.get(name, 0)
answer(
    {
        "peak_bytes": 10_000 + size,
        "step_bytes": size,
        "saved_bytes": size,
        "inference_peak_bytes": 10_000,
        "threads": 3,
        "machine": "a fake",
        "audio_seconds": 2.5,
    }
)
trains = 0
for turn, line in enumerate(sys.stdin):
    asked = json.loads(line)
    with log.open("a") as file:
        file.write(f"{job['audio_tokens']} {name} {asked}\n")
    if job["audio_tokens"] == 100 and name == "plits:qformer":
        time.sleep(60)
    if name == "plits:linear" and turn == 2:
        sys.exit("gone in the second round")
    trains += asked == "train"
    noise = max(trains, 1)  # a machine that slows down from round to round, for all alike
    seconds = noise * SECONDS.get(name, 4.0)
    answer(
        {
            "train": {"train_seconds": seconds},
            "infer": {"prefill_seconds": seconds / 2, "decode_seconds": 0.1},
            "encode": {"encode_seconds": SECONDS.get(name, 4.0)},
        }[asked]
    )
