"""attention.safetensors beside a result: where the text's attention goes, for every item, layer and bin of the clip.

Read over the prompt alone, in one forward pass per batch: of its last row, which decides the answer's first token, and
of all its rows on average, since earlier rows may hear for the last. Heads are averaged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from palprobe.distributed import resolve_device
from palprobe.errors import PalprobeError
from palprobe.evaluation.attended import BINS, named, read_attention
from palprobe.evaluation.predictions import PREDICTIONS
from palprobe.evaluation.results import evaluation_of
from palprobe.files import canonical_json, load_metadata, read_lines, save_tensors
from palprobe.integrations.flamingo import Flamingo
from palprobe.llm.model import left_padded
from palprobe.llm.tokenizer import encode_prompt
from palprobe.recipe.scoring import ScoringSection
from palprobe.specs import split_encoders
from palprobe.tasks.options import drawn, lists_options
from palprobe.training.examples import Reader
from palprobe.training.probe import Probe
from palprobe.training.train_cell import load_probe, readers_of
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import Example, Split

FILE = "attention.safetensors"
VERSION = 1  # of what stands in it


def add_attention(
    workspace: Workspace, plan: Plan, split: Split, section: ScoringSection, *, dropped: Sequence[str] = ()
) -> Path:
    """Writes the file beside an evaluation's result, which stays as it is; one that is there is left alone.

    Its tensors are float16. E items, in the order of the ids in its metadata, and L layers:

        last.SOURCE, prompt.SOURCE   (E, L, BINS)  of the prompt's last row, and the mean over its rows
        share.last, share.prompt     (E, L)        the share of the LLM's attention that goes to audio, of all sources
        correct.NAME, wrong.NAME     (L, …)        means of NAME, any of these, over the items answered so
        gate                         (L)           flamingo: tanh of each block's gate, by which its attention is let in

    SOURCE is memory (lal), prefix (plits), both (pal@v3), or blocks (flamingo: its own attention adds up to one over
    the audio, and the gate says how much of it counts). Of several encoders it ends in the place of one: memory.2.
    Layers without audio hold zeros.

    Args:
        workspace: that the plan is of.
        plan: of an evaluated run.
        split: that was evaluated.
        section: with which.
        dropped: without which encoders.

    Raises:
        PalprobeError: the predictions are of other items than there are features of now.
    """
    evaluation = evaluation_of(plan, split, section, dropped)
    folder, path = evaluation.folder, evaluation.folder / FILE
    made_of = canonical_json(evaluation.identity | {"attention": VERSION, "bins": BINS})
    if path.is_file() and load_metadata(path).get("identity") == made_of:
        return path
    correct = {line["id"]: bool(line["correct"]) for line in read_lines(folder / PREDICTIONS)}
    sources, usable = workspace.sources(plan), workspace.usable(plan, split)
    if list(correct) != [example.id for example in usable.examples]:
        raise PalprobeError(f"{folder} holds predictions of other items than there are features of. Evaluate it again.")
    names = split_encoders(plan.cell.encoder)
    probe = load_probe(plan, sources, device=resolve_device(workspace.places.device))
    probe.dropped = frozenset(names.index(name) for name in dropped)
    listed = lists_options(plan.recipe.prompt, plan.task.kind)
    examples = tuple(map(drawn, usable.examples)) if listed else usable.examples
    tensors = _joined(_batches(probe, examples, readers_of(sources, usable.keys), section.batch_size))
    tensors |= _means(tensors, torch.tensor(list(correct.values()))) | _gates(probe)
    about = {
        "identity": made_of,
        "ids": json.dumps(list(correct)),
        "title": replace(plan.cell, task=plan.task.name).title,
        "encoders": json.dumps(names),
    }
    half = {name: values.to(torch.float16) for name, values in tensors.items()}
    save_tensors(path, half, about)
    return path


def _batches(
    probe: Probe, examples: Sequence[Example], readers: Sequence[Reader], size: int
) -> Iterator[dict[str, Tensor]]:
    for start in range(0, len(examples), size):
        numbers = list(range(start, min(start + size, len(examples))))
        prompts = [encode_prompt(probe.llm.tokenizer, examples[number].prompt) for number in numbers]
        text = left_padded(prompts, device=probe.llm.device)
        yield read_attention(probe, text, [reader(numbers) for reader in readers])


def _joined(batches: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {}
    for batch in batches:
        for name, values in batch.items():
            parts.setdefault(name, []).append(values.float().cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def _means(tensors: Mapping[str, Tensor], correct: Tensor) -> dict[str, Tensor]:
    """Over the items answered rightly and over the others; nothing where there are none."""
    kinds = {"correct": correct, "wrong": ~correct}
    return {
        f"{kind}.{name}": values[chosen].mean(0)
        for kind, chosen in kinds.items()
        if chosen.any()
        for name, values in tensors.items()
    }


def _gates(probe: Probe) -> dict[str, Tensor]:
    """How far Flamingo's blocks are open, layer by layer; 0 where there is none."""
    gates: dict[str, Tensor] = {}
    for number, branch in enumerate(probe.branches):
        if isinstance(branch.integration, Flamingo):
            opened = branch.integration.gates()
            values = [opened.get(layer, 0.0) for layer in range(probe.llm.shape.num_layers)]
            gates[named("gate", number, several=len(probe.branches) > 1)] = torch.tensor(values)
    return gates
