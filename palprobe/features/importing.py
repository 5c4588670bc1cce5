"""Importing: embeddings that another tool computed become features of a task's clips, matched by file name.

T frames, D size of an embedding.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from palprobe.encoders.foreign.frames import JITTER, SLACK, STEP_SECONDS, regular_hop
from palprobe.encoders.foreign.imported import frame_rate
from palprobe.errors import DataError, EncoderError
from palprobe.features.archive import ArrayHeader, Contents, contents, members, read_header, read_values
from palprobe.features.clips import SHOWN, Progress
from palprobe.features.decoding import Work
from palprobe.features.losses import Losses
from palprobe.features.shard import Item
from palprobe.features.store import FeatureStore
from palprobe.features.writer import StoreWriter, stored_values
from palprobe.recipe import Recipe
from palprobe.specs import EncoderSpec

ALIKE = 1.05  # frames per second of clips that differ by less come from one rate, not from padding


class ImportedFeatures:
    """The embeddings of an archive, matched to a task's clips; stands where an encoder stands when features are made.

    An embedding belongs to a clip if it has the name of the clip's audio file, with or without its suffix. Tools that
    encode padded batches keep no lengths (X-ARES): frames past the end of a clip are left out, and told in `notes`.

    Args:
        spec: `imported:RATEhz=ARCHIVE`.
        clips: all distinct clips of the task, since a name that two of them have decides nothing.

    Raises:
        WeightsError: there is no such archive.
        UsageError: the spec says no rate.
        DataError: the archive is damaged; no clip has an embedding; one that a clip has is no (T, D) array of floats or
            has another D; timestamps or lengths do not go with the rate.
    """

    bands = 1
    kind = "general"

    def __init__(self, spec: EncoderSpec, clips: Sequence[Work]) -> None:
        self.spec = spec
        self.frame_rate = frame_rate(spec)
        self.notes: list[str] = []
        self.unmatched: dict[str, str] = {}  # clip key → why it has no embedding
        self._headers: dict[str, ArrayHeader] = {}  # clip key → its embedding
        held = contents(spec)
        namesakes = Counter(clip.example.audio.stem for clip in clips)
        for clip in clips:
            self._match(clip, held, namesakes)
        if not self._headers:
            raise self._nothing_matched(held, clips)
        self.dim = self._common_dim()
        self._check_lengths([clip for clip in clips if clip.key in self._headers])

    def num_frames(self, clip: Work) -> int:
        """How many frames of a clip's embedding are about the clip."""
        expected = clip.seconds * self.frame_rate
        there = self._headers[clip.key].num_frames
        return there if there <= expected + SLACK else math.ceil(expected)

    def place(self, clip: Work) -> str:
        """Where a clip's embedding is."""
        return self._headers[clip.key].place

    def _match(self, clip: Work, held: Contents, namesakes: Counter[str]) -> None:
        audio = clip.example.audio
        names = [name for name in dict.fromkeys((audio.name, audio.stem)) if name in held.embeddings]
        found = [entry for name in names for entry in held.embeddings[name]]
        reason = self._refusal(clip, found, namesakes)
        if reason is not None:
            self.unmatched[clip.key] = reason
            return
        if isinstance(found[0], DataError):
            raise found[0]
        self._headers[clip.key] = found[0]
        if names[0] in held.timestamps:
            self._check_timestamps(held.timestamps[names[0]], clip, found[0])

    def _refusal(self, clip: Work, found: Sequence[ArrayHeader | DataError], namesakes: Counter[str]) -> str | None:
        """Why none of the embeddings found is the clip's; None if one is."""
        example = clip.example
        if example.start_seconds or example.end_seconds is not None:
            return "it is a stretch of its file, an embedding is of the whole file"
        if not clip.seconds:
            return "its audio cannot be decoded, so its length is not known"
        if len(found) != 1:
            return f"{len(found) or 'no'} embeddings are called {example.audio.stem!r}"
        if namesakes[example.audio.stem] > 1:
            return f"{namesakes[example.audio.stem]} clips are called {example.audio.stem!r}"
        if isinstance(found[0], ArrayHeader):
            there, expected = found[0].num_frames, clip.seconds * self.frame_rate
            if there < expected - self._slack:
                return f"{there} frames for {clip.seconds:.3f} s, {there / clip.seconds:.4g} per second"
        return None

    @property
    def _slack(self) -> float:
        """Frames by which a length may be off."""
        return SLACK + STEP_SECONDS * self.frame_rate

    def _check_timestamps(self, timestamps: np.ndarray, clip: Work, header: ArrayHeader) -> None:
        if len(timestamps) != header.num_frames:
            raise DataError(f"{header.place} has {header.num_frames} frames and {len(timestamps)} timestamps.")
        if len(timestamps) < 2:
            return
        try:
            rate = 1000 / regular_hop(timestamps, clip.seconds, name=header.place)
        except EncoderError as error:
            raise DataError(str(error)) from error
        if abs(rate / self.frame_rate - 1) > JITTER:
            raise DataError(
                f"{header.place}: its timestamps say {rate:.4g} frames per second, {self.spec.text!r} says "
                f"{self.frame_rate:g}. Write imported:{rate:.4g}hz=… if they are right."
            )

    def _common_dim(self) -> int:
        first = next(iter(self._headers.values()))
        for header in self._headers.values():
            if header.dim != first.dim:
                raise DataError(
                    f"{first.place} has {first.dim} numbers a frame and {header.place} has {header.dim}. Import the "
                    "output of one encoder."
                )
        return first.dim

    def _check_lengths(self, clips: Sequence[Work]) -> None:
        """Longer embeddings are padded, unless all are longer in the same measure: then the rate is wrong."""
        rates = [self._headers[clip.key].num_frames / clip.seconds for clip in clips]
        over = [self._headers[clip.key].num_frames - clip.seconds * self.frame_rate for clip in clips]
        if min(over) > self._slack and max(rates) < ALIKE * min(rates):
            raise DataError(
                f"All {len(clips)} embeddings of {self.spec.path} have about {np.median(rates):.4g} frames per second, "
                f"{self.spec.text!r} says {self.frame_rate:g}. Write imported:{np.median(rates):.4g}hz=… if so."
            )
        padded = [extra for extra in over if extra > SLACK]
        if padded:
            self.notes.append(
                f"{len(padded)} of {len(clips)} embeddings of {self.spec.path} are longer than their clips, by up to "
                f"{max(padded) / self.frame_rate:.2f} s, as from padded batches; the frames past the end were left out"
            )

    def _nothing_matched(self, held: Contents, clips: Sequence[Work]) -> DataError:
        there = ", ".join(repr(name) for name in list(held.embeddings)[:SHOWN]) or "nothing"
        wanted = ", ".join(repr(clip.example.audio.stem) for clip in clips[:SHOWN])
        return DataError(
            f"No clip has an embedding in {self.spec.path} that fits ({clips[0].example.id}: "
            f"{self.unmatched[clips[0].key]}). Embeddings there are called {there}; clips are called {wanted}."
        )


def import_features(
    features: ImportedFeatures,
    work: Sequence[Work],
    store: FeatureStore,
    recipe: Recipe,
    losses: Losses,
    *,
    progress: Progress | None,
) -> None:
    """Puts the embeddings of clips into a store; clips without one are counted as lost before anything is written.

    Args:
        features: matched to all clips of the task.
        work: the clips that the store lacks.
        store: of the identity of `features`.
        recipe: `store` counts.
        losses: stops with too many of them.
        progress: called with the clips done and all distinct clips.

    Raises:
        DataError: too many clips without an embedding, or numbers that are not finite.
        StoreError: a number is too large for the store's dtype, or the disk is full.
    """
    lost = [clip for clip in work if clip.key in features.unmatched]
    for clip in lost:
        losses.add(clip, features.unmatched[clip.key])
    waiting = {features.place(clip): clip for clip in work if clip.key not in features.unmatched}
    with StoreWriter(store, shard_items=recipe.store.shard_items) as writer:
        for clip in lost:
            reason = features.unmatched[clip.key]
            writer.fail(clip.key, example_id=clip.example.id, path=clip.example.audio, reason=reason)
        for member in members(features.spec):
            if member.place not in waiting:
                continue
            clip = waiting.pop(member.place)
            values = read_values(member, read_header(member))[: features.num_frames(clip)]  # (T, D)
            writer.add(_item(clip, values, recipe.store.dtype))
            if progress:
                progress(losses.found - len(waiting), losses.found)
    if waiting:
        raise DataError(f"{features.spec.path} was changed while it was read. Run the command again.")


def _item(clip: Work, values: np.ndarray, dtype: str) -> Item:
    return Item(
        key=clip.key,
        id=clip.example.id,
        audio_sha=clip.key.partition(":")[0],
        seconds=clip.seconds,
        padded=False,
        values=stored_values(torch.from_numpy(values), dtype, name=clip.example.id),
    )
