"""Where the seconds of a training step go, by kind of operation, and how fast its matrix products are.

A step of LAL has the weights of one of PLITS and far fewer rows. What a bound in operations leaves out is seen here:
products of few rows run at a lower rate, and what is no product (norms, activations, rotary positions, copies, the
optimiser) does not shrink with them.

    OMP_NUM_THREADS=2 python results/integration-cost/where.py --out results/integration-cost/where.csv
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from palprobe.bench.cell import LLMCell
from palprobe.bench.grid import ANSWER_TOKENS, FEATURE_SIZE, NEW_TOKENS
from palprobe.bench.job import Job
from palprobe.bench.shapes import find_shape

CASES = (  # llm, audio, text, clips; PLITS at 1500 tokens did not fit into 24 GiB under a profiler
    *(("SmolLM2-135M", 64, 32, 4, way) for way in ("plits", "lal")),
    *(("Qwen2-0.5B", 64, 32, 4, way) for way in ("plits", "lal")),
    ("Qwen2-0.5B", 1500, 32, 2, "lal"),
)
KINDS = {"product": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"), "attention": ("scaled_dot", "softmax")}
STEPS = 3
COLUMNS = (
    *("llm", "audio_tokens", "text_tokens", "batch", "integration", "step_seconds"),
    *("product_share", "attention_share", "other_share", "product_gflops_per_second"),
)


def kind_of(name: str) -> str:
    """product, attention or other."""
    return next((kind for kind, names in KINDS.items() if any(part in name for part in names)), "other")


def measured(llm: str, audio: int, text: int, batch: int, way: str) -> list[object]:
    """One line of the table: the median of plain steps, and shares of the time of profiled ones."""
    shape = {"config": dict(find_shape(llm).config), "dim": FEATURE_SIZE, "new_tokens": NEW_TOKENS}
    cell = LLMCell(Job("llm", audio, batch, "cpu", way=way, text_tokens=text, answer_tokens=ANSWER_TOKENS, **shape))
    cell.prepare()
    plain = sorted(cell.train()["train_seconds"] for _ in range(STEPS))[STEPS // 2]  # without the profiler's own cost
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiler:
        for _ in range(STEPS):
            cell.train()
    seconds: Counter[str] = Counter()
    flops = 0
    for event in profiler.key_averages():
        kind = kind_of(event.key)
        seconds[kind] += event.self_cpu_time_total / 1e6
        flops += event.flops if kind == "product" else 0
    total = sum(seconds.values())
    shares = [f"{seconds[kind] / total:.3f}" for kind in (*KINDS, "other")]
    return [llm, audio, text, batch, way, f"{plain:.3f}", *shares, f"{flops / seconds['product'] / 1e9:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    arguments = parser.parse_args()
    rows = []
    for case in CASES:  # a process each: none keeps another's memory
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            rows.append(process.submit(measured, *case).result())
    with arguments.out.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    sys.stdout.write(f"{arguments.out.read_text()}{torch.get_num_threads()} threads\n")


if __name__ == "__main__":
    main()
