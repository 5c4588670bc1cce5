"""The silent clip: samples of zero, written once."""

import soundfile

from palprobe.tasks.silence import silent_example


def test_nothing_is_in_it(tmp_path):
    """Two seconds of zeros at 16 kHz; it is left alone when whole, and written again when damaged."""
    example = silent_example(tmp_path / "stimuli")
    waveform, rate = soundfile.read(example.audio)
    assert (rate, len(waveform), abs(waveform).max()) == (16_000, 32_000, 0)
    whole, written = example.audio.read_bytes(), example.audio.stat().st_mtime_ns
    assert silent_example(tmp_path / "stimuli").audio.stat().st_mtime_ns == written
    example.audio.write_bytes(whole[:100])
    assert silent_example(tmp_path / "stimuli").audio.read_bytes() == whole
