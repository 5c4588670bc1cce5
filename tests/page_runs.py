"""Run folders for tests of the page: classes, several seeds, a log and an identity, with any names in them."""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from palprobe.report.contest import Contest

CLASSES = ("dog", "rain", "sea waves", "baby cry", "clock tick")


@dataclass(frozen=True)
class FakeRun:
    """One run: `skill` of its answers are right, the others any class; the same seeds give the same answers."""

    encoder: str = "logmel"
    integration: str = "lal"
    task: str = "esc10"
    seed: int = 0
    skill: float = 0.7
    items: int = 40
    classes: Sequence[str] = CLASSES
    steps: int = 100
    ids: str = "clip-{}"
    part: str | None = None
    control: str = "none"

    @property
    def run_id(self) -> str:
        names = (self.encoder, self.integration, self.task, str(self.seed), self.control)
        return f"{random.Random('/'.join(names)).getrandbits(64):016x}"

    def write(self, runs: Path) -> Path:
        """Makes the run's folder and returns that of its evaluation."""
        folder = runs / self.run_id / "eval" / "test-likelihood"
        folder.mkdir(parents=True)
        lines = self.predictions()
        (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "result.json").write_text(json.dumps(self.result(lines)))
        (runs / self.run_id / "recipe.yaml").write_text("name: compare\n")
        identity = {"seed": self.seed, "train": {"steps": self.steps}, "integration": {"name": self.integration}}
        (runs / self.run_id / "identity.json").write_text(json.dumps(identity))
        log = [{"step": step, "loss": 5 * math.exp(-step / 30) + 0.5} for step in range(1, self.steps + 1)]
        (runs / self.run_id / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
        return folder

    def predictions(self) -> list[dict]:
        draw = random.Random(self.run_id)
        lines = []
        for number in range(self.items):
            reference = self.classes[number % len(self.classes)]
            answer = reference if draw.random() < self.skill else draw.choice(self.classes)
            scores = {label: round(-draw.random() - 2 * (label != answer), 4) for label in self.classes[:5]}
            name = self.ids.format(number)
            lines.append(
                {
                    "id": name, "group": name, "part": self.part, "reference": reference, "prediction": answer,
                    "scores": scores, "correct": answer == reference, "valid": True,
                }
            )  # fmt: skip
        return lines

    def result(self, lines: list[dict]) -> dict:
        right = sum(line["correct"] for line in lines) / len(lines)
        score = {
            "metric": "accuracy", "part": None, "score": right, "ci_low": max(0, right - 0.1),
            "ci_high": min(1, right + 0.1), "ci_method": "wilson", "n": len(lines), "n_invalid": 0, "chance": 0.2,
        }  # fmt: skip
        return {
            "cell": {
                "encoder": self.encoder, "layer": "last", "integration": self.integration, "llm": "tiny",
                "trainable": "full", "task": self.task, "fold": None, "seed": self.seed,
            },
            "run_id": self.run_id, "split": "test", "scoring": "likelihood", "control": self.control,
            "licence": "CC BY 3.0", "citation": "", "versions": {"palprobe": "0.1.0"}, "commit": "0123456789abcdef",
            "device": "cpu", "prompt": "Which sound is this?", "identity": {"run": self.run_id},
            "counts": {"found": len(lines), "missing": 0, "dropped": 0, "used": len(lines), "padded": 0},
            "cost": {
                "audio_tokens": 125.0, "tokens_per_second": 25.0, "trainable_parameters": 600_000,
                "train_seconds": 30.0 + len(self.encoder), "eval_seconds": 1.0, "peak_memory_bytes": 900 << 20,
                "peak_memory_method": "VmHWM", "machine": "a machine",
            },
            "layer_weights": None, "scores": [score],
        }  # fmt: skip


def write_runs(runs: Path, *, seeds: int = 2, **settings) -> None:
    """Two encoders through two integrations, one of them much better."""
    for encoder, skill in (("logmel", 0.4), ("whisper", 0.95)):
        for integration in ("plits", "lal"):
            for seed in range(seeds):
                FakeRun(encoder, integration, seed=seed, skill=skill, **settings).write(runs)


def contest_of(rows, gaps=(), frontier=None, task="esc10") -> Contest:
    """Rows and pairs as they are given, with nothing beside them."""
    names = {"task": task, "metric": "accuracy", "split": "test", "scoring": "likelihood", "llm": "tiny"}
    return Contest(
        **names, trainable="full", rows=tuple(rows), letters={}, gaps=tuple(gaps), beside={}, frontier=frontier or {},
        chance=None, one_answer=None, notes=(),
    )  # fmt: skip
