"""Shards of webdataset, written by hand: tiny clips and the JSON beside each."""

import gzip
import io
import json
import tarfile

import numpy as np
import soundfile

RATE = 16_000


def clip(seconds=0.2, seed=0, form="WAV"):
    """The bytes of some noise."""
    buffer = io.BytesIO()
    noise = 0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE))
    soundfile.write(buffer, noise, RATE, format=form, subtype="PCM_16")
    return buffer.getvalue()


def tar_bytes(members):
    """A tar of (name, bytes) pairs; a TarInfo instead of a pair is written as it is, without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_shard(path, members):
    """A .tar, or a .tar.gz if the path says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar_bytes(members)
    path.write_bytes(gzip.compress(content) if path.name.endswith("gz") else content)
    return path


def samples(contents, seconds=0.2, start=0):
    """Members of clips s0, s1 … with that JSON beside each; every clip is another."""
    members = []
    for number, content in enumerate(contents, start=start):
        members += [(f"s{number}.wav", clip(seconds, number)), (f"s{number}.json", json.dumps(content).encode())]
    return members
