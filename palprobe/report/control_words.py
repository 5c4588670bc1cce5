"""What the controls of a task say, in words: whether it needs audio, whether a probe listens, what the LLM adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from palprobe.recipe.rigor import BLIND
from palprobe.report.contest import Contest, Gap, place_of_row
from palprobe.report.controls import EVALUATED, FLOOR, NO_LLM, POOLED, UNTRAINED_NAME, VERBALISER
from palprobe.report.gap_words import certainty_words, size_words
from palprobe.report.rows import Row
from palprobe.report.text import listed

HEARD = {
    "shuffled": "with another clip's audio",
    "silence": "with silence",
    "gaussian": "with noise in place of features",
}
POOLED_NAMES = {"linear": "A linear probe", "knn": "A nearest-neighbour probe"}


def control_sentences(contest: Contest) -> Iterator[str]:
    """A sentence for each control that was run, and one where there is no blind probe; nothing without an LLM."""
    if contest.llm == NO_LLM:
        return
    yield from _blind(contest)
    yield from _other_audio(contest)
    for name in contest.beside:
        if name == FLOOR or UNTRAINED_NAME.fullmatch(name):
            yield from _encoder_control(contest, name)
    yield from _names(contest)
    for name in POOLED:
        yield from _without_llm(contest, name)


def _blind(contest: Contest) -> Iterator[str]:
    probes = contest.beside.get(BLIND, {})
    if not probes:
        yield "No blind probe was run: what the questions alone give away is not known."
        return
    gaps = _with_control(contest, probes.values())
    told = _scores(list(dict.fromkeys(probes.values())))
    if all(gap.verdict == "one seed" for gap in gaps):
        yield f"The blind probe scores {told}; with one seed there is no claim that any encoder does better."
        return
    ahead = [gap for gap in gaps if gap.verdict == "better" and gap.better.control != BLIND]
    if not ahead:
        yield (
            f"No encoder beats the blind probe on {contest.task} ({told}): it does not need audio, or none of them "
            "hears what it takes."
        )
        return
    first = ahead[0]
    amount = f"{size_words(first)} ({certainty_words(first, first.better)})"
    yield f"{_name(first.better, contest)} is better than the blind probe ({first.worse.score:.3f}) by {amount}."
    behind = [row for row in contest.rows if all(row != gap.better for gap in ahead)]
    if behind:
        yield f"Not shown to beat the blind probe: {listed([_name(row, contest) for row in behind])}."


def _other_audio(contest: Contest) -> Iterator[str]:
    """The best row on audio that is not its own."""
    best = contest.rows[0]
    found = [(name, contest.beside[name].get(place_of_row(best))) for name in EVALUATED if name in contest.beside]
    told = [(name, row) for name, row in found if row is not None]
    if not told:
        return
    scores = [f"{row.score:.3f} {HEARD[name]}" for name, row in told]
    yield f"{_name(best, contest)} scores {best.score:.3f} with its own audio, against {listed(scores)}."
    gaps = _with_control(contest, [row for _, row in told])
    deaf = [gap for gap in gaps if best in (gap.better, gap.worse) and gap.verdict == "tied"]
    if deaf:
        names = [HEARD[name] for name, row in told if any(row in (gap.better, gap.worse) for gap in deaf)]
        yield f"No worse {listed(names)}, as far as could be shown: it may not listen."


def _encoder_control(contest: Contest, name: str) -> Iterator[str]:
    """Encoders that are not shown to beat the floor, or their own architecture untrained."""
    against = contest.beside[name]
    if len({row.encoder for row in contest.rows}) < 3:
        return  # the pair itself was told
    ahead = {
        (place_of_row(gap.better), place_of_row(gap.worse))
        for gap in contest.gaps
        if gap.axis == "encoder" and gap.verdict == "better"
    }
    places = [place_of_row(row) for row in contest.rows if place_of_row(row) in against]
    behind = [place for place in places if (place, place_of_row(against[place])) not in ahead]
    what = "the floor, log-mel features" if name == FLOOR else f"the same encoder untrained, {name}"
    if behind:
        names = listed([_name(row, contest) for row in contest.rows if place_of_row(row) in behind])
        yield f"Not shown to beat {what}: {names}."
    else:
        yield f"Better than {what}: every encoder that can be set beside it."


def _names(contest: Contest) -> Iterator[str]:
    best = contest.rows[0]
    other = contest.beside.get(VERBALISER, {}).get(place_of_row(best))
    if other is not None:
        yield (
            f"With the names of the classes dealt out anew {_name(best, contest)} scores {other.score:.3f} instead of "
            f"{best.score:.3f}: what is lost is what the LLM makes of the names."
        )


def _without_llm(contest: Contest, name: str) -> Iterator[str]:
    """What the best row is worth beside a plain classifier on the same features."""
    best = contest.rows[0]
    other = contest.beside.get(name, {}).get(place_of_row(best))
    if other is None:
        return
    start = f"{POOLED_NAMES[name]} on the features of {best.encoder}, without an LLM, scores {other.score:.3f}"
    gap = next((gap for gap in _with_control(contest, [other]) if best in (gap.better, gap.worse)), None)
    if gap is None or gap.difference is None:
        yield f"{start}."
        return
    amount = f"{size_words(gap)} ({certainty_words(gap, gap.better)})"
    if gap.verdict == "better":
        yield f"{start}, {'worse' if gap.better == best else 'better'} by {amount}."
    else:
        yield f"{start}; {'with one seed that is no claim' if gap.verdict == 'one seed' else 'tied'}: {amount} apart."


def _with_control(contest: Contest, others: Iterable[Row]) -> list[Gap]:
    """Pairs with any of these, in the order of the contest's rows."""
    wanted = set(others)
    found = [gap for gap in contest.gaps if gap.axis == "control" and wanted & {gap.better, gap.worse}]
    order = {row: number for number, row in enumerate(contest.rows)}
    return sorted(found, key=lambda gap: min(order.get(row, len(order)) for row in (gap.better, gap.worse)))


def _scores(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return f"{rows[0].score:.3f}"
    return listed([f"{row.score:.3f} through {row.integration}" for row in rows])


def _name(row: Row, contest: Contest) -> str:
    several = len({other.integration for other in contest.rows}) > 1
    return f"{row.encoder} through {row.integration}" if several else row.encoder
