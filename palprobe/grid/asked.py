"""What a grid asks of each of its runs: evaluations on a split, as trained and under controls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from palprobe.evaluation.results import Evaluation, evaluations
from palprobe.grid.cells import encoders_of
from palprobe.recipe.rigor import NO_CONTROL, SHUFFLED, controls_that
from palprobe.specs import EncoderSpec, parse_encoder, split_encoders
from palprobe.training.planned import Planned
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import BLOCK, Split


@dataclass(frozen=True)
class Asked:
    """One look at a run: by which items, and what is heard of them."""

    split: Split
    heard: str = NO_CONTROL

    def evaluations(self, plan: Plan) -> tuple[Evaluation, ...]:
        """One for each scoring; of a block likelihoods alone, as text is no code."""
        found = evaluations(plan, self.split, plan.recipe.scoring, heard=self.heard)
        return tuple(one for one in found if self.split != BLOCK or one.section.method == "likelihood")

    def is_there(self, plan: Plan) -> bool:
        return all(evaluation.is_there for evaluation in self.evaluations(plan))


def asked_of(workspace: Workspace, plan: Plan, split: Split) -> list[Asked]:
    """The splits as such first, then controls; of a part of the training split, what comes next in it."""
    if plan.cell.control != NO_CONTROL:
        asked, block = [Asked(split)], Asked(BLOCK)
        return [*asked, block] if plan.splits.block and block.evaluations(plan) else asked
    asked = [Asked(each) for each in splits_asked(workspace, plan, split)]
    wanted = [name for name in controls_that("evaluated") if name in workspace.recipe.wanted_controls]
    if len({plan.keys[example.id] for example in plan.examples(split)}) < 2:
        wanted = [name for name in wanted if name != SHUFFLED]  # there is no other clip to hear
    return [*asked, *(Asked(split, name) for name in wanted)]


def splits_asked(workspace: Workspace, plan: Planned, split: Split) -> list[Split]:
    """The split that is asked for; of a layer that is one of several, also the validation that chooses among them."""
    chosen_among = split != "validation" and plan.cell.encoder in layers_compared(workspace)
    return [split, "validation"] if chosen_among and plan.splits.validation else [split]


def layers_compared(workspace: Workspace) -> set[str]:
    """The encoders of the grid of which other layers are in it too."""

    def whole(text: str) -> tuple[EncoderSpec, ...]:
        return tuple(parse_encoder(name).whole for name in split_encoders(text))

    encoders = encoders_of(workspace)
    counts = Counter(map(whole, encoders))
    return {text for text in encoders if counts[whole(text)] > 1}


def is_evaluated(workspace: Workspace, plan: Plan, split: Split) -> bool:
    """Whether all that is asked of a run is there."""
    return all(asked.is_there(plan) for asked in asked_of(workspace, plan, split))
