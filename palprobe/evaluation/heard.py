"""What a finished probe is given to hear in place of a question's own clip: another clip, silence, or noise."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from palprobe.errors import ScoringError, UnfinishedError
from palprobe.features.source import Source
from palprobe.files import digest
from palprobe.recipe.rigor import GAUSSIAN, SHUFFLED, SILENCE
from palprobe.runs import extract_command
from palprobe.tasks.silence import STIMULI, silent_example
from palprobe.training.planned import Usable
from palprobe.training.probe import Branch, Probe
from palprobe.training.workspace import Plan, Workspace


@dataclass(frozen=True)
class HeardSource:
    """A `Source` that gives other features for a clip than its own."""

    own: Source
    count: Callable[[str], int]  # key → tokens
    read: Callable[[Sequence[str]], list[Tensor]]

    @property
    def num_layers(self) -> int:
        return self.own.num_layers

    @property
    def dim(self) -> int:
        return self.own.dim

    @property
    def frame_rate(self) -> float:
        return self.own.frame_rate

    @property
    def bands(self) -> int:
        return self.own.bands

    @property
    def ready(self) -> bool:
        return self.own.ready

    @property
    def info(self) -> Mapping[str, Any]:
        return self.own.info

    def __contains__(self, key: object) -> bool:
        return key in self.own

    def num_tokens(self, key: str) -> int:
        return self.count(key)

    def padded(self, key: str) -> bool:
        return self.own.padded(key)

    def failures(self) -> dict[str, tuple[str, str, str]]:
        return self.own.failures()

    def get_many(self, keys: Sequence[str]) -> list[Tensor]:
        return self.read(keys)


@dataclass(frozen=True)
class Hearing:
    """What is heard of each encoder, and what a result says of it."""

    sources: tuple[Source, ...]
    told: dict[str, int]


def hearing(control: str, workspace: Workspace, plan: Plan, usable: Usable, probe: Probe) -> Hearing:
    """What the probe is given to hear under a control; under none, its clips.

    Args:
        control: checked by `check_heard`.
        workspace: that the plan is of.
        plan: of the run, whose seed decides who hears what.
        usable: the items that are asked.
        probe: as trained.

    Raises:
        UnfinishedError: the features are not there.
        ScoringError: there is but one clip, so that no other can be heard.
    """
    sources = workspace.sources(plan)
    if control == SHUFFLED:
        return _shuffled(sources, usable, plan.cell.seed)
    if control == SILENCE:
        key = _silent_key(workspace, plan, sources)
        return Hearing(tuple(_silent(source, key) for source in sources), {})
    if control == GAUSSIAN:
        seeds = [f"{plan.cell.seed}.{number}" for number in range(len(sources))]
        heard = zip(sources, probe.branches, seeds, strict=True)
        return Hearing(tuple(_noise(source, branch, seed) for source, branch, seed in heard), {})
    return Hearing(sources, {})


def derangement(groups: Mapping[str, str], seed: object) -> dict[str, str]:
    """For each of some clips another one: every clip once, none its own, and one of another group if that can be.

    Clips stand group by group, the largest first and the others in a seeded order, and each hears the one that stands
    as far on as the largest group is long. Only if that group has more than half of all do some of it stay within.

    Args:
        groups: clip → its group; two clips or more.
        seed: of the order.
    """
    sizes = Counter(groups.values())

    def rank(*names: str) -> str:
        return digest([SHUFFLED, seed, *names])

    order = sorted(groups, key=lambda clip: (-sizes[groups[clip]], rank(groups[clip]), rank(groups[clip], clip)))
    step = sizes[groups[order[0]]] % len(order) or 1
    return dict(zip(order, [*order[step:], *order[:step]], strict=True))


def _shuffled(sources: Sequence[Source], usable: Usable, seed: int) -> Hearing:
    """Each clip in the place of another about which the same type of question is asked."""
    parts: dict[str | None, dict[str, str]] = defaultdict(dict)
    known: dict[str, str | None] = {}  # clip → the part of the first question about it
    for example, key in zip(usable.examples, usable.keys, strict=True):
        parts[known.setdefault(key, example.part)].setdefault(key, example.group)
    pools = [pool for pool in parts.values() if pool]
    if any(len(pool) < 2 for pool in pools):
        pools = [{key: group for pool in pools for key, group in pool.items()}]
    if len(pools[0]) < 2:
        raise ScoringError("All items are about one clip, so that none can hear another.")
    other = {key: heard for pool in pools for key, heard in derangement(pool, seed).items()}
    groups = {key: group for pool in pools for key, group in pool.items()}
    within = sum(groups[key] == groups[other[key]] for key in usable.keys)
    return Hearing(tuple(_instead(source, other) for source in sources), {"heard_own_group": within})


def _instead(source: Source, other: Mapping[str, str]) -> HeardSource:
    return HeardSource(
        source,
        lambda key: source.num_tokens(other[key]),
        lambda keys: source.get_many([other[key] for key in keys]),
    )


def _silent_key(workspace: Workspace, plan: Plan, sources: Sequence[Source]) -> str:
    silence = silent_example(workspace.places.store / STIMULI)
    key = workspace.clip_keys(SILENCE, [silence])[silence.id]
    if not all(key in source for source in sources):
        asked = workspace.recipe.model_copy(update={"controls": [SILENCE]})
        line = extract_command(plan.cell.encoder, plan.cell.task, asked, workspace.places)
        raise UnfinishedError(f"{plan.cell.encoder}: no features of silence. Run: {line}")
    return key


def _silent(source: Source, silence: str) -> HeardSource:
    """Silence over and over, as long as the clip, so that what a length tells is still told."""
    (quiet,) = source.get_many([silence])

    def read(keys: Sequence[str]) -> list[Tensor]:
        return [quiet[torch.arange(source.num_tokens(key)) % len(quiet)] for key in keys]

    return HeardSource(source, source.num_tokens, read)


def _noise(source: Source, branch: Branch, seed: str) -> HeardSource:
    """Noise that is standard normal once pooled and standardised, as long as the clip."""
    mean, deviation = (value.detach().cpu() for value in (branch.standardise.mean, branch.standardise.deviation))

    def drawn(key: str) -> Tensor:
        generator = torch.Generator().manual_seed(int(digest([GAUSSIAN, seed, key])[:15], 16))
        tokens = source.num_tokens(key)
        noise = torch.randn(branch.pooling.count(tokens), source.dim, generator=generator)
        return branch.pooling.spread(mean + deviation * noise, tokens)

    return HeardSource(source, source.num_tokens, lambda keys: [drawn(key) for key in keys])
