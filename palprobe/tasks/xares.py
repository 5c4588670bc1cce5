"""`xares:FILE.yaml`: the training and evaluation files of xares-llm and their shards, as tasks; one part for each set.

A training file gives training examples, an evaluation file a test set. What differs from xares-llm, on purpose: an item
with a list of answers is trained on once for each, but asked once, and any of them is right; of several prompts an item
draws one by its name, not by chance; an answer is one line; a 0 counts as an answer; and what is left out is counted.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from palprobe.errors import DataError
from palprobe.files import digest
from palprobe.tasks.layout import one_line
from palprobe.tasks.patterns import find_shards, places
from palprobe.tasks.shards import Sample, Shard, open_shard, short_names
from palprobe.tasks.xares_yaml import NOT_COMPUTED, PeerFile, PeerSet, read_peer_file
from palprobe.types import Example, TaskData, TaskKind

OTHER_KEYS = ("captions", "caption", "text")  # of the JSON, after those that a set names
METRIC, WEIGHT, CLASSES = "xares_metric", "xares_weight", "xares_classes"  # in the meta of what is evaluated
MOST_CHOICES = 1000  # labels of a set that are taken for a closed question's
SHARD_DIGITS = 12  # of a shard's sha256, in the name of a group
UNREAD_AUDIO = (".sox", ".wma")  # that xares-llm reads
# Texts that xares-llm leaves out.
MOST_SIGNS, MOST_MARKS = 0.5, 3  # share of characters that are no letter or digit; combining marks
LONG, FEW_LETTERS = 10, 4  # so long a text has at least so many different characters
CITATION = "xares-llm; the licence of each data set is its publisher's"


@dataclass(frozen=True, eq=False)
class _Reading:
    """The examples of a set, and what it lists in vain."""

    examples: list[Example] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # item: reason
    reasons: Counter[str] = field(default_factory=Counter)

    def leave_out(self, item: str, reason: str) -> None:
        self.left_out.append(f"{item}: {reason}")
        self.reasons[reason] += 1


def load_xares(source: str, *, cache: Path) -> TaskData:
    """Reads a file of xares-llm; its shards are unpacked into the cache, once.

    Args:
        source: the YAML; patterns in it start at its folder, the working directory or $XARES_DATA_HOME.
        cache: of unpacked shards.

    Raises:
        DataError: the YAML or a shard cannot be used, a shard is not here, or nothing of a set can be.
    """
    file = read_peer_file(Path(source))
    folders = places(file.path)
    notes = [f"{file.path.name} also says, for --set: {' '.join(file.settings)}"] if file.settings else []
    shards: dict[str, list[Shard]] = {}
    for one in file.sets:
        paths = find_shards(one.patterns, folders, repo=one.repo, where=f"{str(file.path)!r}, {one.name!r}")
        shards[one.name] = [open_shard(path, cache) for path in paths]
    shares = _shares(file, {name: len(found) for name, found in shards.items()})
    examples: list[Example] = []
    left_out: list[str] = []
    for one in file.sets:
        if shares.get(one.name) == 0:
            notes.append(f"{one.name} has prob 0 and is not used")
            continue
        reading = _read(file, one, shards[one.name])
        notes += [f"{one.name}: {number} left out, {reason}" for reason, number in sorted(reading.reasons.items())]
        if one.judging and (reason := NOT_COMPUTED.get(one.judging.metric)):
            notes.append(f"{one.name}: {one.judging.metric} is not computed, as {reason}")
        examples += [replace(example, part_share=shares.get(one.name)) for example in reading.examples]
        left_out += reading.left_out
    name = f"xares:{file.path.name}"
    return TaskData(name, tuple(examples), tuple(left_out), "", CITATION, _kind(file), tuple(notes))


def _shares(file: PeerFile, num_shards: Mapping[str, int]) -> dict[str, float]:
    """How often each set is drawn in training: as the file says, else by its share of the shards; nothing for one."""
    if file.split == "test" or len(file.sets) == 1:
        return {}
    total = sum(num_shards.values())
    given = {one.name: one.probability for one in file.sets}
    weights = {name: num_shards[name] / total if prob is None else prob for name, prob in given.items()}
    if not sum(weights.values()):
        raise DataError(f"{str(file.path)!r}: every prob is 0, so nothing would be trained on.")
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _kind(file: PeerFile) -> TaskKind:
    metrics = {one.judging.metric for one in file.sets if one.judging}
    if metrics and metrics <= {"iWER", "iCER"}:
        return "transcription"
    return "captioning" if metrics and metrics <= NOT_COMPUTED.keys() else "open"


def _read(file: PeerFile, one: PeerSet, shards: Sequence[Shard]) -> _Reading:
    reading = _Reading()
    for shard, short in zip(shards, short_names([shard.path for shard in shards]), strict=True):
        for sample in shard.samples:
            item = f"{one.name}/{short}/{sample.key}"
            reason = _why_not(sample, one.keys)
            texts = [] if reason else list(_texts(reading, item, _value(sample.content or {}, one.keys)))
            if reason:
                reading.leave_out(item, reason)
            elif texts:
                group = f"{shard.sha256[:SHARD_DIGITS]}/{sample.key}"
                reading.examples.extend(_examples(file, one, item, group, sample, texts))
    if not reading.examples:
        told = "; ".join(f"{number} times: {reason}" for reason, number in reading.reasons.most_common())
        raise DataError(
            f"{str(file.path)!r}, {one.name!r}: none of {len(reading.left_out)} samples can be used ({told})."
            if told
            else f"{str(file.path)!r}, {one.name!r}: its shards hold no sample."
        )
    return _with_choices(reading, one)


def _why_not(sample: Sample, keys: Sequence[str]) -> str | None:
    """Why a sample cannot be used, if so."""
    if sample.audio is None:
        unread = next((suffix for suffix in sample.others if suffix in UNREAD_AUDIO), None)
        return f"audio in {unread}, which is not read" if unread else "no audio"
    if sample.content is None:
        return f"no JSON object beside the audio ({', '.join(sorted(sample.others)) or 'nothing'} is)"
    value = _value(sample.content, keys)
    if value is None:
        return f"no answer under {', '.join((*keys, *OTHER_KEYS))}"
    return None if isinstance(value, (str, int, float, list)) else "the answer is an object"


def _value(content: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """What holds the answer: the first that is not empty, or a 0 where all others are."""
    listed = [content[key] for key in (*keys, *OTHER_KEYS) if key in content]
    zeros = [value for value in listed if isinstance(value, (int, float)) and not value]
    return next((value for value in listed if value), zeros[0] if zeros else None)


def _texts(reading: _Reading, item: str, value: Any) -> Iterator[str]:
    """The answers that a value holds; those that are left out are counted."""
    for number, given in enumerate(value if isinstance(value, list) else [value], start=1):
        place = f"{item}#{number}" if isinstance(value, list) else item
        text = one_line(str(given)) if isinstance(given, (str, int, float)) else ""
        if not text:
            reading.leave_out(place, "an empty answer")
        elif reason := unlikely(text):
            reading.leave_out(place, reason)
        else:
            yield text


def unlikely(text: str) -> str | None:
    """Why xares-llm would leave a text out, if it would."""
    if sum(not letter.isalnum() for letter in text) / len(text) > MOST_SIGNS:
        return "more than half of the answer is neither letter nor digit"
    if sum(bool(unicodedata.combining(letter)) for letter in text) > MOST_MARKS:
        return f"more than {MOST_MARKS} combining marks in the answer"
    if len(text) > LONG and len(set(text)) < FEW_LETTERS:
        return f"fewer than {FEW_LETTERS} different characters in a long answer"
    return None


def _examples(
    file: PeerFile, one: PeerSet, item: str, group: str, sample: Sample, texts: Sequence[str]
) -> Iterator[Example]:
    """Of an item: one question with all answers to be evaluated, or one for each answer to train on."""
    rows = [tuple(texts)] if file.split == "test" else [(text,) for text in texts]
    for number, references in enumerate(rows, start=1):
        name = item if len(rows) == 1 else f"{item}#{number}"
        assert sample.audio is not None  # noqa: S101 - see `_why_not`
        yield Example(
            id=name,
            group=group,
            audio=sample.audio,
            prompt=one.prompts[int(digest(["prompt", name]), 16) % len(one.prompts)],
            references=references,
            split=file.split,
            part=one.name,
            meta=_meta(one),
        )


def _meta(one: PeerSet) -> dict[str, str]:
    judging = one.judging
    if judging is None:
        return {}
    classes = {} if judging.num_classes is None else {CLASSES: str(judging.num_classes)}
    return {METRIC: judging.metric, WEIGHT: str(judging.weight)} | classes


def _with_choices(reading: _Reading, one: PeerSet) -> _Reading:
    """Where labels are compared as wholes, they are the choices of a closed question, for scoring by likelihood."""
    labels = sorted({text for example in reading.examples for text in example.references})
    alone = all(len(example.references) == 1 for example in reading.examples)
    if one.judging is None or one.judging.metric != "Accuracy" or not alone or not 2 <= len(labels) <= MOST_CHOICES:
        return reading
    return replace(reading, examples=[replace(example, choices=tuple(labels)) for example in reading.examples])
