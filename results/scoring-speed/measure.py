"""How much faster the tree ranks labels than the ways that others rank them, for every integration.

    python results/scoring-speed/measure.py --out results/scoring-speed/speed.csv

SmolLM2-135M's shape with random weights; one clip of 250 audio tokens, a prompt of 32 tokens, 50 labels of 3 tokens
each, the last of which is the end. Three ways to the same 50 scores, measured in turn after a warm-up:

- one forward pass for each label: clip, prompt and label, logits on the label alone;
- a shared prefix: clip and prompt once, then all labels in one batch on copies of the keys and values;
- the tree: clip, prompt and all labels in one row, as `palprobe.scoring.tree` does it.

All three use the same kernels and the same connector output of one clip, made anew each time, as for a new clip. A
line holds the medians in seconds per clip, the ratios, and the largest difference between scores. The first baseline
is also that of PLITS, for every integration: what ranking costs where nobody has thought of anything.

Beside it, tokens.csv: rows of the tree for real labels, with and without sharing how labels begin, counted.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from palprobe.bench.shapes import find_shape
from palprobe.features.pooling import Pooling
from palprobe.integrations import build_integration, resolve_section
from palprobe.llm.attention import additive_mask, growing_cache
from palprobe.llm.model import LanguageModel, TextBatch
from palprobe.llm.untrained import build_untrained
from palprobe.recipe import IntegrationSection
from palprobe.scoring.tree import build_tree, score_tree
from palprobe.tasks.diagnostics import QUESTIONS
from palprobe.training.probe import Branch, Probe

INTEGRATIONS = ("plits", "lal", "pal@v1", "pal@v3", "flamingo")
AUDIO_TOKENS, PROMPT_TOKENS, LABELS, LABEL_TOKENS, DIM = 250, 32, 50, 3, 768
REPETITIONS = 4
COLUMNS = ("integration", "tree_seconds", "per_label_seconds", "shared_prefix_seconds", "over_per_label")
COLUMNS += ("over_plits_per_label", "over_shared_prefix", "largest_difference", "threads", "torch")

ESC50 = (
    "airplane|breathing|brushing teeth|can opening|car horn|cat|chainsaw|chirping birds|church bells|clapping|"
    "clock alarm|clock tick|coughing|cow|crackling fire|crickets|crow|crying baby|dog|door wood creaks|door wood knock|"
    "drinking sipping|engine|fireworks|footsteps|frog|glass breaking|hand saw|helicopter|hen|insects|keyboard typing|"
    "laughing|mouse click|pig|pouring water|rain|rooster|sea waves|sheep|siren|sneezing|snoring|thunderstorm|"
    "toilet flush|train|vacuum cleaner|washing machine|water drops|wind"
)

Prompt = list[int]
Labels = list[list[int]]


def main() -> None:
    """Measures every integration and writes the CSV."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--integrations", nargs="*", default=list(INTEGRATIONS))
    arguments.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments.add_argument("--llm", default="SmolLM2-135M")
    chosen = arguments.parse_args()
    torch.manual_seed(0)
    llm = build_untrained(find_shape(chosen.llm).config)
    probes = {name: probe_of(name, llm) for name in chosen.integrations}
    clip = torch.randn(AUDIO_TOKENS, DIM)
    vocabulary = find_shape(chosen.llm).vocabulary_size
    prompt = torch.randint(vocabulary, (PROMPT_TOKENS,)).tolist()
    # The end of a label differs from label to label here, which costs the same; no two labels begin alike.
    firsts = torch.randperm(vocabulary)[:LABELS].tolist()
    labels = [[first, *torch.randint(vocabulary, (LABEL_TOKENS - 1,)).tolist()] for first in firsts]
    ways: dict[str, Callable[[Probe, Tensor, Prompt, Labels], Tensor]] = {
        "tree": by_tree,
        "per_label": by_label,
        "shared_prefix": by_shared_prefix,
    }
    seconds: dict[tuple[str, str], list[float]] = {pair: [] for pair in itertools.product(probes, ways)}
    scores: dict[tuple[str, str], Tensor] = {}
    for _ in range(chosen.repetitions + 1):
        for (name, probe), (way, run) in itertools.product(probes.items(), ways.items()):
            begin = time.perf_counter()
            scores[name, way] = run(probe, clip, prompt, labels)
            seconds[name, way].append(time.perf_counter() - begin)
    rows = [row_of(name, seconds, scores) for name in probes]
    with chosen.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with chosen.out.with_name("tokens.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(shared_rows())
    for row in rows:
        print(row)  # noqa: T201 - for the person who runs it


def shared_rows() -> list[tuple[object, ...]]:
    """Rows of the tree for real sets of labels, as bytes and as words, with and without sharing how labels begin."""
    sets = {"esc50": ESC50.split("|")} | {f"diagnostics:{name}": list(one.choices) for name, one in QUESTIONS.items()}
    found: list[tuple[object, ...]] = [("labels", "tokens", "rows_apart", "rows_shared")]
    for name, labels in sets.items():
        for unit, cut in (("bytes", lambda label: list(label.encode())), ("words", str.split)):
            known: dict[object, int] = {}
            answers = [[known.setdefault(token, len(known) + 1) for token in cut(label)] + [0] for label in labels]
            found.append((name, unit, sum(len(one) - 1 for one in answers), build_tree([0], answers).kept - 1))
    return found


def row_of(
    name: str, seconds: dict[tuple[str, str], list[float]], scores: dict[tuple[str, str], Tensor]
) -> dict[str, object]:
    """Medians of what came after the warm-up; a ratio is the median over repetitions."""
    timed = {pair: values[1:] for pair, values in seconds.items()}

    def ratio(slow: tuple[str, str]) -> float:
        return round(median(one / other for one, other in zip(timed[slow], timed[name, "tree"], strict=True)), 2)

    others = [scores[name, way] for way in ("per_label", "shared_prefix")]
    plits = ("plits", "per_label")
    return {
        "integration": name,
        **{f"{way}_seconds": round(median(timed[name, way]), 4) for way in ("tree", "per_label", "shared_prefix")},
        "over_per_label": ratio((name, "per_label")),
        "over_plits_per_label": ratio(plits) if plits in timed else None,
        "over_shared_prefix": ratio((name, "shared_prefix")),
        "largest_difference": max(float((scores[name, "tree"] - other).abs().max()) for other in others),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def probe_of(name: str, llm: LanguageModel) -> Probe:
    """Random weights; gates opened, so that the audio matters under every integration."""
    section = resolve_section(name, IntegrationSection())
    integration = build_integration(name, dim=DIM, shape=llm.shape, section=section, seed=0)
    for part, parameter in integration.named_parameters():
        if "gate" in part:
            nn.init.ones_(parameter)
    return Probe([Branch(integration, dim=DIM, num_layers=1, pooling=Pooling(grid=1, time=1))], llm).eval()


def by_tree(probe: Probe, clip: Tensor, prompt: Prompt, labels: Labels) -> Tensor:
    """(labels,) scores from one row."""
    return score_tree(probe, build_tree(prompt, labels), [[clip]], len(labels))[0]


@torch.inference_mode()
def by_label(probe: Probe, clip: Tensor, prompt: Prompt, labels: Labels) -> Tensor:
    """(labels,) scores from a forward pass each; the connector runs once."""
    context = probe.context([[clip]])
    scores = []
    for label in labels:
        ids = torch.tensor([[*prompt, *label[:-1]]])
        text = TextBatch(ids, torch.ones_like(ids, dtype=torch.bool))
        logits = probe(text, context, logits_to_keep=len(label))[0]
        scores.append(logits.log_softmax(-1)[range(len(label)), label].double().sum())
    return torch.stack(scores)


@torch.inference_mode()
def by_shared_prefix(probe: Probe, clip: Tensor, prompt: Prompt, labels: Labels) -> Tensor:
    """(labels,) scores from clip and prompt once, and a batch of the labels on copies of their keys and values."""
    llm, context, answers = probe.llm, probe.context([[clip]]), torch.tensor(labels)
    ids = torch.tensor([prompt])
    layout = llm._lay_out(TextBatch(ids, torch.ones_like(ids, dtype=torch.bool)), context)
    cache = growing_cache(llm._audio_layers(context, layout))
    mask = None if layout.visible is None else additive_mask(layout.visible, llm._groups, torch.float32)
    with llm._running(context, layout):
        first = llm._call(layout.rows, mask, layout.positions, cache, 1)[0, -1].log_softmax(-1)
    cache.batch_repeat_interleave(len(labels))
    seen, length = layout.columns.shape[1], answers.shape[1] - 1
    mask = additive_mask(torch.ones(1, length, seen + length, dtype=torch.bool).tril(seen), llm._groups, torch.float32)
    positions = (layout.positions[:, -1:] + 1 + torch.arange(length)).expand(len(labels), -1)
    with llm._running(context, layout):  # its blocks take the labels as rows of the one clip
        logits = llm._call(llm._embed(answers[:, :-1]), mask, positions, cache, length)
    later = logits.log_softmax(-1).gather(2, answers[:, 1:, None])[..., 0]
    return first[answers[:, 0]].double() + later.double().sum(1)


if __name__ == "__main__":
    main()
