"""Audio files become clips: decoded by content, cut, mono; the one home of soundfile and soxr."""

from __future__ import annotations

import importlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from palprobe.errors import AudioError
from palprobe.types import Clip

LOWEST_SAMPLE_RATE, HIGHEST_SAMPLE_RATE = 1_000, 768_000  # Hz
MOST_CHANNELS = 32
LARGEST_SAMPLE = 2.0**31  # beyond the scale of any PCM
CANCELLED = 10 ** (-60 / 20)  # the mean is this far below the louder channel: they are in opposite phase
ROUNDING_SECONDS = 0.01  # an end written with two decimals may lie that far past the last frame
STREAMED_BYTES = 0x7FFF0000  # writers to a pipe put about this, or more, for a size that they cannot know
PROMISED_BYTES = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
EXACT_SEEK = re.compile(r"PCM_|FLOAT|DOUBLE|ULAW|ALAW")  # subtypes; in mp3 and Vorbis a seek changes the samples


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself."""

    sample_rate: int  # Hz
    frames: int  # samples of each channel


def load_clip(path: Path, start_seconds: float = 0.0, end_seconds: float | None = None) -> Clip:
    """Decodes a file, or a stretch of it, and mixes its channels down by their mean.

    Args:
        path: a regular file; its content, not its name, decides the format.
        start_seconds: where the stretch begins, at least 0.
        end_seconds: where it ends; None for the end of the file.

    Raises:
        AudioError: the file cannot become a clip; one line with the path and the reason.
    """
    with _opened(path) as file:
        info = _checked_info(path, file)
        first, last = segment_bounds(path, info, start_seconds, end_seconds)
        samples = file.read(first, last)  # (S, channels)
    if len(samples) < last - first:
        raise _refused(path, f"truncated: {first + len(samples)} frames decoded, the header promises {info.frames}")
    peak = float(np.abs(samples).max())
    if not peak <= LARGEST_SAMPLE:  # NaN compares false
        raise _refused(path, "it holds NaN, infinite or absurdly large samples")
    return Clip(_downmix(path, samples), info.sample_rate)


def probe(path: Path) -> AudioInfo:
    """Sample rate and length of a file, checked as `load_clip` checks them, without decoding it where that is possible.

    Raises:
        AudioError: as `load_clip`.
    """
    with _opened(path) as file:
        return _checked_info(path, file)


def segment_bounds(
    path: Path, info: AudioInfo, start_seconds: float = 0.0, end_seconds: float | None = None
) -> tuple[int, int]:
    """First frame of a stretch and the frame after its last one, at the file's own rate.

    Raises:
        AudioError: the stretch is empty or lies outside the file, which `path` names in the message.
    """
    duration = info.frames / info.sample_rate
    end = duration if end_seconds is None else end_seconds
    if not 0 <= start_seconds < end <= duration + ROUNDING_SECONDS:  # NaN compares false
        found = f"segment {start_seconds:g} s to {end:g} s"
        raise _refused(path, f"{found} is empty or outside the file, which lasts {duration:.3f} s")
    first = round(start_seconds * info.sample_rate)
    last = info.frames if end_seconds is None else min(round(end * info.sample_rate), info.frames)
    if first >= last:
        raise _refused(path, f"segment {start_seconds:g} s to {end:g} s holds no sample at {info.sample_rate} Hz")
    return first, last


def resample(clip: Clip, sample_rate: int) -> np.ndarray:
    """(S,) float32 at `sample_rate` Hz, by soxr at its HQ setting; the same samples where the rate is the same."""
    if clip.sample_rate == sample_rate:
        return clip.waveform
    resampled: np.ndarray = soxr.resample(clip.waveform, clip.sample_rate, sample_rate, "HQ")
    return np.ascontiguousarray(resampled, dtype=np.float32)


def audio_versions() -> dict[str, str]:
    """Versions of the decoder and the resampler, which are part of a feature's identity."""
    return {"libsndfile": soundfile.__libsndfile_version__, "soxr": soxr.__libsoxr_version__}


class _SoundFile:
    """What soundfile decodes."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._file = soundfile.SoundFile(descriptor, closefd=False)  # a descriptor has no name to guess a format from
        self.sample_rate: int = self._file.samplerate
        self.frames: int = self._file.frames
        self.channels: int = self._file.channels

    def check(self) -> None:
        for promised, there in PROMISED_BYTES.findall(self._file.extra_info):
            if int(there) < int(promised) < STREAMED_BYTES:
                raise _refused(self._path, f"truncated: its header promises {promised} bytes of audio, it has {there}")

    def read(self, first: int, last: int) -> np.ndarray:
        """(S, channels) float32 frames from `first` up to `last`, fewer where the data ends sooner.

        In one call: soundfile seeks after each, and in a lossy stream a seek changes the samples that follow it.
        """
        position = first if EXACT_SEEK.match(self._file.subtype) else 0
        if position:
            self._file.seek(position)
        samples: np.ndarray = self._file.read(last - position, dtype="float32", always_2d=True)
        return samples[first - position :]

    def close(self) -> None:
        self._file.close()


class _AvFile:
    """What PyAV decodes (m4a, aac, webm), whole, since its containers do not tell the exact length."""

    def __init__(self, path: Path, descriptor: int) -> None:
        try:
            av = importlib.import_module("av")
        except ImportError as error:
            reason = "soundfile cannot read m4a, aac or webm. Convert it to flac, or: pip install 'palprobe[av]'"
            raise _refused(path, reason) from error
        try:
            with os.fdopen(descriptor, "rb", closefd=False) as file, av.open(file) as container:
                self.sample_rate, blocks = _decode_with_av(av, container)
        except (av.FFmpegError, IndexError) as error:  # IndexError: no audio stream
            raise _refused(path, f"PyAV cannot decode it ({error})") from error
        self._samples = np.concatenate(blocks, axis=1).T if blocks else np.zeros((0, 1), dtype=np.float32)
        self.frames, self.channels = self._samples.shape

    def check(self) -> None:
        """The container promises no number of samples that could be compared."""

    def read(self, first: int, last: int) -> np.ndarray:
        return self._samples[first:last]

    def close(self) -> None:
        """Everything is decoded already."""


def _decode_with_av(av: Any, container: Any) -> tuple[int, list[np.ndarray]]:
    """Sample rate in Hz and (channels, S) blocks of the first audio stream."""
    stream = container.streams.audio[0]
    to_float = av.AudioResampler(format="fltp")  # changes the sample format only
    blocks = [out.to_ndarray() for frame in container.decode(stream) for out in to_float.resample(frame)]
    return stream.rate, blocks + [out.to_ndarray() for out in to_float.resample(None)]


@contextmanager
def _opened(path: Path) -> Iterator[_SoundFile | _AvFile]:
    """The decoder that fits a regular file's content; what it raises on the way becomes an AudioError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would block for ever
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _refused(path, f"it cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refused(path, "not a regular file")
        decoder = _AvFile if _needs_av(os.pread(descriptor, 12, 0)) else _SoundFile
        with closing(decoder(path, descriptor)) as file:
            yield file
    except soundfile.LibsndfileError as error:
        raise _refused(path, f"soundfile cannot decode it ({error.error_string.rstrip('.')})") from error
    except OSError as error:
        raise _refused(path, f"it cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise _refused(path, "its length, as the header gives it, does not fit in memory") from error
    finally:
        os.close(descriptor)


def _needs_av(head: bytes) -> bool:
    """MP4, WebM or ADTS by the first bytes: nothing else is given to FFmpeg, which follows the links of a playlist."""
    is_adts = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0
    return head[4:8] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3" or is_adts


def _checked_info(path: Path, file: _SoundFile | _AvFile) -> AudioInfo:
    if not LOWEST_SAMPLE_RATE <= file.sample_rate <= HIGHEST_SAMPLE_RATE:
        expected = f"{LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE}"
        raise _refused(path, f"its sample rate is {file.sample_rate} Hz; expected {expected}")
    if not 1 <= file.channels <= MOST_CHANNELS:
        raise _refused(path, f"it has {file.channels} channels; expected 1 to {MOST_CHANNELS}")
    file.check()
    if file.frames < 1:
        raise _refused(path, "it holds no audio (zero frames)")
    return AudioInfo(file.sample_rate, file.frames)


def _downmix(path: Path, samples: np.ndarray) -> np.ndarray:
    """(S, channels) → (S,)."""
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    mono: np.ndarray = samples.mean(axis=1, dtype=np.float64).astype(np.float32)
    loudest = max(_rms(channel) for channel in samples.T)
    if loudest > 0 and _rms(mono) < CANCELLED * loudest:
        raise _refused(path, "its channels cancel out (opposite phase), so the mono mix is silent. Keep one channel")
    return mono


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _refused(path: Path, reason: str) -> AudioError:
    """The name goes through repr: file names come from strangers and may hold control characters."""
    return AudioError(f"Audio file {str(path)!r}: {reason}.")
