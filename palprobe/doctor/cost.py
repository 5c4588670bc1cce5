"""What an encoder's features cost: parameters, time, bytes, what float16 leaves of them, and whether to keep them.

T tokens, D encoder size.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from palprobe.doctor.findings import Finding, Value, digits, result
from palprobe.doctor.modules import modules_in, parameters_of
from palprobe.doctor.patient import CLIP_SECONDS, SOUND_SECONDS, TIMED_CLIPS, Patient, apart, root_mean_square
from palprobe.doctor.signals import extremes
from palprobe.features.shard import Item
from palprobe.features.store import FeatureStore
from palprobe.features.writer import FLOAT16_MAX, StoreWriter, stored_values

SECONDS_PER_MINUTE = 60
MEGABYTE, MILLISECONDS = 1e6, 1e3
EXTREME_SECONDS = 1.7
HEADROOM = 2.0  # what is found here is not the loudest of thousands of recordings
MOST_ROUNDED = 0.01  # of the distance of two sounds; features of usual size and spread stay below 0.001
LEVELS = (1.0, 0.1)  # and -20 dB: float16 is coarser for small features
READS = 16  # clips, in one shard: a median of fewer moves with the disk's other work


def store_dtype(patient: Patient) -> Finding:
    """Whether the store can hold the features: their range, and what rounding leaves of them, also at a low level."""
    seconds = patient.within_window(SOUND_SECONDS)
    pair = [patient.sound(seconds), patient.sound(seconds, seed=1)]
    features = [patient.tokens([level * waveform])[0] for level in LEVELS for waveform in pair]
    edges = extremes(EXTREME_SECONDS, patient.encoder.sample_rate).values()
    largest = max(float(tokens.abs().max()) for tokens in [*features, *(patient.tokens([clip])[0] for clip in edges)])
    limit = FLOAT16_MAX if patient.dtype == "float16" else float(np.finfo(np.float32).max)
    values: dict[str, Value] = {"largest": largest, "limit": limit, "rounding": None}
    expected = f"at most {limit:g} in {patient.dtype}, changed by rounding by at most {MOST_ROUNDED:g}"
    advice = "Use --set store.dtype=float32, or scale the features."
    if largest > limit:
        found = f"the features reach {largest:.6g}, which {patient.dtype} cannot hold"
        return result("store dtype", "fail", found, f"{expected}. {advice}", **values)
    pairs = zip(features[::2], features[1::2], strict=True)
    rounding = max(_rounding(one, other, patient.dtype) for one, other in pairs)
    values["rounding"] = rounding
    found = f"largest {largest:.4g}; {patient.dtype} changes the features by {rounding:.2g}"
    if rounding > MOST_ROUNDED or largest > limit / HEADROOM:
        return result("store dtype", "warn", found, f"{expected}. {advice}", **values)
    return result("store dtype", "ok", found, expected, **values)


def _rounding(one: Tensor, other: Tensor, dtype: str) -> float:
    """What storing changes of a sound's features, as a share of their distance from another sound's."""
    stored = torch.from_numpy(stored_values(one, dtype, name="a test clip").astype(np.float32))
    return root_mean_square(one - stored) / apart(one, other)


def parameters(patient: Patient) -> Finding:
    """How many numbers were trained, for the table of a paper."""
    tensors = parameters_of(modules_in(patient.encoder))
    count = sum(tensor.numel() for tensor in tensors)
    found = f"{count:,}" if count else "none in torch modules"
    return result("parameters", "ok", found, "any", parameters=count)


def speed(patient: Patient) -> Finding:
    """How fast clips are encoded."""
    seconds = patient.clip_seconds_median
    factor = CLIP_SECONDS / seconds
    median = f"{CLIP_SECONDS:g} s take {digits(seconds * MILLISECONDS)} ms, median of {TIMED_CLIPS}"
    found = f"{digits(factor)} × real time ({median})"
    expected = "faster than real time"
    if factor < 1:
        advice = "Use a GPU (--device cuda), or extract on several machines (compare --plan=extract)."
        return result("speed", "warn", found, f"{expected}. {advice}", times_real_time=factor, seconds=seconds)
    return result("speed", "ok", found, expected, times_real_time=factor, seconds=seconds)


def cache_size(patient: Patient) -> Finding:
    """Bytes on the disk for each minute of audio."""
    encoder = patient.encoder
    per_second = encoder.frame_rate * encoder.bands * encoder.dim * np.dtype(patient.dtype).itemsize
    count = per_second * SECONDS_PER_MINUTE * patient.num_stores
    stores = f" in {patient.num_stores} stores" if patient.num_stores > 1 else ""
    found = f"{digits(count / MEGABYTE)} MB per minute of audio, {patient.dtype}{stores}"
    return result("cache size", "ok", found, "any that your disk holds", bytes_per_minute=round(count))


def reading(patient: Patient) -> Finding:
    """Whether reading features is faster than computing them again."""
    with tempfile.TemporaryDirectory(prefix="palprobe-doctor-") as folder:
        read, from_disk = _read_seconds(patient, Path(folder))
    encode = patient.clip_seconds_median
    winner = "reading" if read <= encode else "encoding again"
    ratio = max(read, encode) / min(read, encode)
    place = "the disk" if from_disk else "memory"
    times = f"read from {place} in {digits(read * MILLISECONDS)} ms, encoded in {digits(encode * MILLISECONDS)} ms"
    found = f"{winner} is {digits(ratio)} × faster: {CLIP_SECONDS:g} s are {times}"
    values: dict[str, Value] = {"winner": winner, "read_seconds": read, "encode_seconds": encode}
    expected = "any; training reads each clip once per epoch, and your store may be on another disk"
    return result("reading", "ok", found, expected, **values, from_disk=from_disk)


def _read_seconds(patient: Patient, root: Path) -> tuple[float, bool]:
    """Median seconds to read a clip from a small store, and whether its bytes came from the disk."""
    (tokens,) = patient.tokens([patient.sound(CLIP_SECONDS)])
    values = stored_values(tokens, patient.dtype, name="a test clip")
    encoder = patient.encoder
    info = {"dim": encoder.dim, "frame_rate": encoder.frame_rate, "bands": encoder.bands, "kind": encoder.kind}
    keys = [f"{number:064x}:0-end" for number in range(READS)]
    store = FeatureStore.create(root, {"made_by": "palprobe doctor"}, info)
    with StoreWriter(store, shard_items=READS) as writer:
        for key in keys:
            writer.add(Item(key, key, key.partition(":")[0], CLIP_SECONDS, False, values))
    seconds, disk_bytes = [], _bytes_from_disk()
    for key in np.random.default_rng(0).permutation(keys):  # training reads in random order
        _drop_from_memory(store.path)  # each time, for the system reads ahead
        begin = time.perf_counter()
        store.get(str(key))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), _bytes_from_disk() - disk_bytes >= READS * values.nbytes


def _drop_from_memory(folder: Path) -> None:
    """Asks the system to forget the pages of a store's shards, so that the next read goes to the disk.

    Not every system can be asked. Written pages alone are forgotten; the shards were synced.
    """
    if hasattr(os, "posix_fadvise"):
        for path in folder.glob("*.safetensors"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _bytes_from_disk(counters: Path = Path("/proc/self/io")) -> int:
    """What this process has had read from disks so far; 0 where the system does not count, or does not tell."""
    try:
        lines = counters.read_text().splitlines()
    except OSError:  # not Linux, or a container that hides it
        return 0
    return int(dict(line.split(": ") for line in lines).get("read_bytes", 0))
