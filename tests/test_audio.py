"""audio: what becomes a clip, what is refused and why, and the resampler."""

from __future__ import annotations

import csv
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from palprobe.audio import AudioInfo, audio_versions, load_clip, probe, resample
from palprobe.errors import AudioError
from palprobe.types import Clip

RATE = 16_000


def noise(frames: int, channels: int = 1) -> np.ndarray:
    shape = (frames, channels) if channels > 1 else frames
    return np.random.default_rng(0).normal(scale=0.1, size=shape).astype(np.float32)


def sine(hertz: float, seconds: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, *, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype)
    return path


def refusal(path: Path, start: float = 0.0, end: float | None = None) -> str:
    with pytest.raises(AudioError) as caught:
        load_clip(path, start, end)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"Audio file {str(path)!r}: ")
    return message


def test_float_wav_comes_back_as_written(tmp_path: Path) -> None:
    """A float WAV loses nothing: the same float32 samples at the same rate."""
    samples = noise(1000)
    clip = load_clip(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert clip.sample_rate == RATE
    assert clip.waveform.dtype == np.float32
    np.testing.assert_array_equal(clip.waveform, samples)


def test_downmix_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    """Three constant channels of 0.1, 0.2 and 0.6 give 0.3."""
    samples = np.tile(np.array([0.1, 0.2, 0.6], dtype=np.float32), (100, 1))
    clip = load_clip(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    np.testing.assert_allclose(clip.waveform, np.full(100, 0.3), rtol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "FLOAT"), ("flac", "PCM_24"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")]
)
def test_segment_is_a_slice_of_the_whole(tmp_path: Path, suffix: str, subtype: str) -> None:
    """0.25 s to 0.75 s at 16 kHz are exactly samples 4000 to 12000 of the whole file, in lossy formats too."""
    path = write(tmp_path / f"a.{suffix}", noise(RATE), subtype=subtype)
    whole, part = load_clip(path), load_clip(path, 0.25, 0.75)
    assert len(part.waveform) == 8000
    np.testing.assert_array_equal(part.waveform, whole.waveform[4000:12000])
    assert probe(path) == AudioInfo(RATE, len(whole.waveform))


def test_segment_end_may_be_rounded(tmp_path: Path) -> None:
    """A file of 15,999 samples lasts 0.99994 s; an end written as 1.00 s means its end."""
    path = write(tmp_path / "a.wav", noise(RATE - 1))
    assert len(load_clip(path, 0.5, 1.0).waveform) == RATE - 1 - 8000


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    """A FLAC called .wav, .raw or .mp4 is read as the FLAC that it is."""
    whole = load_clip(write(tmp_path / "a.flac", noise(1000))).waveform
    for name in ("a.wav", "a.raw", "a.mp4", "a"):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / name).write_bytes((tmp_path / "a.flac").read_bytes())
        np.testing.assert_array_equal(load_clip(tmp_path / "b" / name).waveform, whole)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder and a pipe (which would block for ever) are refused at once."""
    assert "No such file" in refusal(tmp_path / "none.wav")
    assert "not a regular file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    assert "not a regular file" in refusal(tmp_path / "pipe.wav")


def test_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be opened is refused with the system's reason."""
    path = write(tmp_path / "a.wav", noise(10))

    def denied(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"id,label\n1,dog\n", b"RIFF\x00\x00", bytes(4096)])
def test_undecodable_content_is_refused(tmp_path: Path, content: bytes) -> None:
    """Nothing, text, a torn header and zeros are no audio, whatever the name says."""
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert "soundfile cannot decode it" in refusal(path)


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x20ftypM4A ", b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81", b"\xff\xf1\x50\x80\x02\x1f"]
)
def test_m4a_webm_and_aac_need_av(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    """Without PyAV the message says that soundfile cannot read these, and what to install."""
    monkeypatch.setitem(__import__("sys").modules, "av", None)  # import raises ImportError
    path = tmp_path / "a.m4a"
    path.write_bytes(head + bytes(100))
    message = refusal(path)
    assert "soundfile cannot read m4a, aac or webm" in message
    assert "palprobe[av]" in message


def test_m4a_is_decoded_by_av(tmp_path: Path) -> None:
    """A 440 Hz tone in AAC comes back at its rate with its frequency, padded by less than 4096 samples."""
    av = pytest.importorskip("av")
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE)
        frame = av.AudioFrame.from_ndarray(sine(440, 1, RATE)[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    clip = load_clip(path)
    assert clip.sample_rate == RATE
    assert RATE <= len(clip.waveform) < RATE + 4096
    assert probe(path).frames == len(clip.waveform)
    spectrum = np.abs(np.fft.rfft(clip.waveform[:RATE]))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    path.write_bytes(path.read_bytes()[:200])
    assert "PyAV cannot decode it" in refusal(path)


def test_zero_frames_are_refused(tmp_path: Path) -> None:
    """A valid WAV without a sample is no clip."""
    assert "zero frames" in refusal(write(tmp_path / "a.wav", np.zeros(0, dtype=np.float32)))


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_16"), ("aiff", "PCM_16"), ("au", "PCM_16"), ("mp3", "MPEG_LAYER_III")]
)
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, subtype: str) -> None:
    """A file cut at 60 % whose header promises the whole is refused, not silently shortened."""
    path = write(tmp_path / f"a.{suffix}", noise(44_100), 44_100, subtype=subtype)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize(("suffix", "subtype"), [("flac", "PCM_16"), ("ogg", "VORBIS")])
def test_truncated_stream_is_refused(tmp_path: Path, suffix: str, subtype: str) -> None:
    """The decoders of FLAC and Ogg fail by themselves, or find nothing, in a file cut at 20 %."""
    path = write(tmp_path / f"a.{suffix}", noise(44_100), 44_100, subtype=subtype)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 5])
    refusal(path)


def test_header_that_promises_days_is_refused(tmp_path: Path) -> None:
    """A FLAC of a second whose header says 2^36 - 1 samples neither fills the memory nor passes."""
    path = write(tmp_path / "a.flac", noise(44_100), 44_100)
    content = bytearray(path.read_bytes())
    at = 8 + 13  # "fLaC", block header, then the 36-bit count begins in the low half of STREAMINFO's byte 13
    content[at : at + 5] = bytes([content[at] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF])
    path.write_bytes(content)
    assert probe(path).frames == 2**36 - 1
    refusal(path)


def test_wav_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    """A writer that could not seek puts 0xFFFFFFFF for the sizes; that promises nothing, and all samples are read."""
    path = write(tmp_path / "a.wav", noise(1000), subtype="PCM_16")
    content = bytearray(path.read_bytes())
    for at in (4, content.index(b"data") + 4):
        content[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert len(load_clip(path).waveform) == 1000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_audio_are_refused(tmp_path: Path, value: float) -> None:
    """One NaN, infinite or absurd sample anywhere refuses the file."""
    samples = noise(1000)
    samples[700] = value
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert "NaN, infinite or absurdly large" in refusal(path)
    assert len(load_clip(path, 0.0, 0.03).waveform) == 480  # it lies outside this stretch


@pytest.mark.parametrize("rate", [999, 800_000])
def test_absurd_sample_rate_is_refused(tmp_path: Path, rate: int) -> None:
    """Rates outside 1 kHz to 768 kHz are a broken header."""
    assert f"sample rate is {rate} Hz" in refusal(write(tmp_path / "a.wav", noise(1000), rate))


def test_too_many_channels_are_refused(tmp_path: Path) -> None:
    """32 channels pass, 33 do not."""
    load_clip(write(tmp_path / "a.wav", noise(100, 32)))
    assert "33 channels" in refusal(write(tmp_path / "a.wav", noise(100, 33)))


@pytest.mark.parametrize(
    ("start", "end"), [(0.5, 0.5), (0.6, 0.5), (-0.1, 0.5), (0.0, 1.5), (1.0, None), (2.0, 3.0), (float("nan"), None)]
)
def test_segment_outside_the_file_is_refused(tmp_path: Path, start: float, end: float | None) -> None:
    """Empty, reversed, negative or past the end of a file of 1 s: refused, with the file's length."""
    message = refusal(write(tmp_path / "a.wav", noise(RATE)), start, end)
    assert "lasts 1.000 s" in message


def test_segment_without_a_sample_is_refused(tmp_path: Path) -> None:
    """Ten microseconds at 16 kHz hold no sample."""
    assert "holds no sample" in refusal(write(tmp_path / "a.wav", noise(RATE)), 0.5, 0.50001)


def test_opposite_phase_is_refused_and_silence_is_not(tmp_path: Path) -> None:
    """Left = -right cancels in the mean; true silence, one silent channel and half cancellation do not count."""
    left = noise(1000)
    cancelled = write(tmp_path / "a.wav", np.stack([left, -left], 1), subtype="FLOAT")
    assert "opposite phase" in refusal(cancelled)
    nearly = write(tmp_path / "b.wav", np.stack([left, -0.9999 * left], 1), subtype="FLOAT")
    assert "opposite phase" in refusal(nearly)
    for name, right in {"silent": 0 * left, "half": -0.5 * left}.items():
        load_clip(write(tmp_path / f"{name}.wav", np.stack([left, right], 1), subtype="FLOAT"))
    assert not load_clip(write(tmp_path / "zero.wav", np.zeros((100, 2), np.float32))).waveform.any()


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    """A newline, an escape sequence and a right-to-left override in a name stay on one plain line."""
    path = tmp_path / "a\n\x1b[31m\u202e.wav"
    path.write_bytes(b"no audio")
    message = refusal(path)
    assert message.isprintable()


@pytest.mark.parametrize(("source", "target"), [(44_100, 16_000), (8_000, 16_000), (48_000, 16_000), (22_050, 24_000)])
def test_resampling_keeps_frequency_and_duration(source: int, target: int) -> None:
    """A 1 kHz sine stays the 1 kHz sine that the formula gives at the new rate, within -60 dB, away from the ends."""
    resampled = resample(Clip(sine(1000, 1, source), source), target)
    assert resampled.dtype == np.float32
    assert len(resampled) == target
    middle = slice(target // 10, -target // 10)
    np.testing.assert_allclose(resampled[middle], sine(1000, 1, target)[middle], atol=5e-4)


def test_resampling_removes_what_would_alias() -> None:
    """A 9 kHz tone at 44.1 kHz would appear at 7 kHz in 16 kHz audio; it is more than 100 dB down."""
    resampled = resample(Clip(sine(9000, 1, 44_100), 44_100), RATE)
    assert np.abs(resampled[2000:-2000]).max() < 0.5 * 10 ** (-100 / 20)


def test_resampling_keeps_the_upper_band() -> None:
    """A 7 kHz tone keeps its level within 0.1 dB on the way from 44.1 to 16 kHz (LQ loses more)."""
    resampled = resample(Clip(sine(7000, 1, 44_100), 44_100), RATE)[2000:-2000].astype(np.float64)
    level = 20 * np.log10(np.sqrt(2 * np.mean(resampled**2)) / 0.5)
    assert abs(level) < 0.1


def test_same_rate_is_left_alone() -> None:
    """No resampling at the same rate: the very same array."""
    clip = Clip(noise(100), RATE)
    assert resample(clip, RATE) is clip.waveform


def test_versions_name_decoder_and_resampler() -> None:
    """Both versions are there as text that begins with a number."""
    versions = audio_versions()
    assert sorted(versions) == ["libsndfile", "soxr"]
    assert all(version[0].isdigit() for version in versions.values())


@pytest.mark.data
def test_real_files_have_their_listed_length() -> None:
    """Ten recordings of each format decode to the number of frames and the rate of the manifest."""
    root = os.environ.get("PALPROBE_DATA")
    if not root:
        pytest.skip("PALPROBE_DATA names no folder")
    with (Path(root) / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for suffix in (".wav", ".flac", ".ogg", ".mp3"):
        chosen = [row for row in rows if row["path"].endswith(suffix)]
        for row in chosen[:: len(chosen) // 10][:10]:
            path = Path(root) / row["path"]
            clip = load_clip(path)
            assert (clip.sample_rate, len(clip.waveform)) == (int(row["sample_rate"]), int(row["frames"])), row["path"]
            assert probe(path) == AudioInfo(clip.sample_rate, len(clip.waveform))
