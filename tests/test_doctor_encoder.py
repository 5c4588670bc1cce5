"""doctor/encoder: each planted defect is found by the check that is meant for it, and a good encoder passes all."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner

from palprobe.cli import inspection
from palprobe.doctor import cost
from palprobe.doctor.encoder import encoder_report, examine
from palprobe.doctor.findings import NOT_EXAMINED, EncoderReport, Finding, digits
from palprobe.doctor.modules import changed_state, in_training_mode, modules_in, parameters_of, state_of
from palprobe.doctor.patient import Patient, step_changes
from palprobe.doctor.signals import FAINT, PEAK, extremes, replaced, sound
from palprobe.errors import EncoderError, UnknownNameError, UsageError
from palprobe.recipe import Recipe, load_recipe

HOP, RATE, DIM = 320, 16_000, 16


class Toy:
    """A good encoder: log magnitudes of the lowest frequencies of each 20 ms, nothing else."""

    sample_rate, frame_rate, dim, bands, kind = RATE, 50.0, DIM, 1, "general"
    min_samples, max_seconds, depth = HOP, None, 0

    def num_tokens(self, num_samples):
        return -(-num_samples // HOP)

    def encode(self, waveforms, layers):
        return [self.features(waveform).float()[None] for waveform in waveforms]

    def features(self, waveform):
        return log_spectra(waveform, HOP)


def log_spectra(waveform, hop):
    padded = F.pad(waveform, (0, -len(waveform) % hop))
    return (torch.fft.rfft(padded.reshape(-1, hop)).abs()[:, :DIM] + 1e-3).log()


class DropsTheSecondHalf(Toy):
    """Strides are half of what frame_rate says, and the surplus is cut off: the number of tokens is right."""

    def features(self, waveform):
        return log_spectra(waveform, HOP // 2)[: self.num_tokens(len(waveform))]


class HasDropout(Toy):
    def __init__(self):
        self.net = [nn.Dropout(0.5)]  # in a plain list, which .eval() of an owner would not reach

    def features(self, waveform):
        return self.net[0](super().features(waveform))


class MovesItsStatistics(Toy):
    def __init__(self):
        self.norm = nn.BatchNorm1d(DIM).eval().requires_grad_(False)

    def features(self, waveform):
        norm, tokens = self.norm, super().features(waveform)
        F.batch_norm(torch.cat([tokens, tokens]), norm.running_mean, norm.running_var, training=True)
        return tokens


class BreaksOnSilence(Toy):
    def features(self, waveform):
        return super().features(waveform / waveform.abs().max())


class CouplesTheBatch(Toy):
    def encode(self, waveforms, layers):
        longest = max(len(waveform) for waveform in waveforms)
        return [super(CouplesTheBatch, self).encode([w * len(w) / longest], layers)[0] for w in waveforms]


class IgnoresTheLastTenth(Toy):
    def features(self, waveform):
        tokens = super().features(waveform)
        heard = math.ceil(0.9 * len(tokens))
        return torch.cat([tokens[:heard], tokens[heard - 1 : heard].expand(len(tokens) - heard, -1)])


class StopsAfterTwentySeconds(Toy):
    def features(self, waveform):
        tokens = super().features(waveform)
        return F.pad(tokens[:1000], (0, 0, 0, max(len(tokens) - 1000, 0)))


class DeclaresAnotherRate(Toy):
    frame_rate = 100.0


class DriftsOverAMinute(Toy):
    frame_rate = 49.85  # at 25 s, nearly four steps off


class IsTooLoud(Toy):
    def features(self, waveform):
        return 1e5 * super().features(waveform)


class SaysTheSame(Toy):
    def features(self, waveform):
        return torch.ones(self.num_tokens(len(waveform)), DIM)


class IsNeverTheSame(Toy):
    def features(self, waveform):
        tokens = super().features(waveform)
        return tokens + torch.randn(tokens.shape)


class RemembersTheLastClip(Toy):
    def __init__(self):
        self.last = 0.0

    def features(self, waveform):
        tokens = super().features(waveform) + self.last
        self.last = float(tokens.mean()) / 10
        return tokens


class DrawsItsWeights(Toy):
    def __init__(self):
        self.scale = float(np.random.default_rng().uniform(1, 2))

    def features(self, waveform):
        return self.scale * super().features(waveform)


class OverflowsOnSquares(Toy):
    def features(self, waveform):
        if waveform.abs().mean() > 0.9:
            raise EncoderError("an overflow")
        return super().features(waveform)


class RefusesShortClips(Toy):
    def features(self, waveform):
        if len(waveform) < RATE // 5:
            raise EncoderError("too short for the second stride")
        return super().features(waveform)


class HasLayers(Toy):
    depth = 2

    def encode(self, waveforms, layers):
        return [torch.stack([(number + 1) * self.features(w) for number in layers]) for w in waveforms]


class MixesUpLayers(HasLayers):
    def encode(self, waveforms, layers):
        return super().encode(waveforms, sorted(layers))


class GivesTheFirstForTheLast(HasLayers):
    def encode(self, waveforms, layers):
        return super().encode(waveforms, [0] if list(layers) == [2] else layers)


class CannotEncode(Toy):
    def features(self, waveform):
        raise EncoderError("no luck today")


def findings(kind, **options) -> dict[str, Finding]:
    encoder = kind()
    options = {"layers": (encoder.depth,), "dtype": "float16", **options}
    return {finding.name: finding for finding in examine(Patient(encoder, kind, **options))}


def skipped(finding: Finding) -> bool:
    return finding.found.startswith(NOT_EXAMINED)


def with_verdict(found: dict[str, Finding], verdict: str) -> set[str]:
    return {name for name, finding in found.items() if finding.verdict == verdict and not skipped(finding)}


class Windowed(Toy):
    max_seconds = 3.0


class Banded(Toy):
    frame_rate, bands, dim = 12.5, 4, DIM  # four neighbouring steps stand for the bands of one

    def num_tokens(self, num_samples):
        return 4 * -(-num_samples // (4 * HOP))

    def features(self, waveform):
        return super().features(F.pad(waveform, (0, -len(waveform) % (4 * HOP))))


@pytest.mark.parametrize("kind", [Toy, Windowed, Banded, HasLayers])
def test_a_good_encoder_passes_every_check(kind):
    """No warning and no failure, also with windows of 3 s, with bands, and with layers."""
    found = findings(kind)
    assert {name: finding for name, finding in found.items() if finding.verdict != "ok"} == {}
    assert found.keys() == CHECKS


CHECKS = {
    *("output", "assumptions", "shape", "frame rate", "frozen", "state", "determinism", "batch", "layers", "response"),
    *("coverage", "long clips", "trailing silence", "gain", "silence", "loud and faint", "store dtype", "parameters"),
    *("speed", "cache size", "reading"),
}
DEFECTS = {
    DropsTheSecondHalf: ("coverage", "changes at 7, 8.5 s of 10 s change nothing"),
    HasDropout: ("frozen", "in training mode: Dropout"),
    MovesItsStatistics: ("state", "changed by encoding: BatchNorm1d.running_mean, BatchNorm1d.running_var"),
    BreaksOnSilence: ("silence", "non-finite"),
    CouplesTheBatch: ("batch", "alone and together: changed by"),
    IgnoresTheLastTenth: ("long clips", "at the end of 25 s"),
    StopsAfterTwentySeconds: ("long clips", "at the end of 25 s"),
    DeclaresAnotherRate: ("frame rate", "25 s give 1250 tokens: 12.5 s at 100 Hz"),
    DriftsOverAMinute: ("frame rate", "25 s give 1250 tokens: 25.08 s at 49.85 Hz"),
    IsTooLoud: ("store dtype", "which float16 cannot hold"),
    SaysTheSame: ("response", "two different clips have the same features"),
    IsNeverTheSame: ("determinism", "a second time: changed by"),
    RemembersTheLastClip: ("determinism", "a second time: changed by"),
    DrawsItsWeights: ("determinism", "a second time: equal; loaded anew: changed by"),
    OverflowsOnSquares: ("loud and faint", "a square wave at full scale: an overflow"),
    RefusesShortClips: ("shape", "0.02 s: too short for the second stride; 0.1 s: too short"),
    MixesUpLayers: ("layers", "another order"),
    GivesTheFirstForTheLast: ("layers", "@2 among all layers is not @2 alone"),
    CannotEncode: ("output", "no luck today"),
}


@pytest.mark.parametrize("kind", DEFECTS, ids=lambda kind: kind.__name__)
def test_a_defect_fails_its_own_check_alone(kind):
    """One failure, that of the check meant for the defect; what it makes meaningless is said to be not examined."""
    name, words = DEFECTS[kind]
    found = findings(kind)
    assert with_verdict(found, "fail") == {name}
    assert with_verdict(found, "warn") == set()
    assert words in found[name].found
    for finding in found.values():
        if skipped(finding):
            assert repr(name) in finding.expected and finding.verdict == "warn"


def test_checks_that_would_tell_nothing_are_named():
    """Without determinism nothing can be compared; shapes, silence and cost are still looked at."""
    found = findings(IsNeverTheSame)
    names = {name for name, finding in found.items() if skipped(finding)}
    assert names == {"batch", "layers", "response", "coverage", "long clips", "trailing silence", "gain"}


class HearsTheWholeClip(Toy):
    def features(self, waveform):
        tokens = super().features(waveform)
        return tokens - tokens.mean(0)


class AsksForGradients(Toy):
    def __init__(self):
        self.net = nn.Linear(2, 2).eval()


class IsTiny(Toy):
    def features(self, waveform):
        return 1e-7 * super().features(waveform)


class NeedsHeadroom(Toy):
    def features(self, waveform):
        return 5000 * super().features(waveform)  # the logarithms reach 8


class HasNotes(Toy):
    notes = ("its rate was measured",)


class RepeatsALayer(HasLayers):
    def encode(self, waveforms, layers):
        return super().encode(waveforms, [max(number, 1) for number in layers])


class LosesTwoSteps(Toy):
    def num_tokens(self, num_samples):
        return max(super().num_tokens(num_samples) - 2, 1)

    def features(self, waveform):
        return super().features(waveform)[: self.num_tokens(len(waveform))]


class RoundsInBatches(Toy):
    def encode(self, waveforms, layers):
        return [tokens * (1 + 1e-6 * (len(waveforms) - 1)) for tokens in super().encode(waveforms, layers)]


WARNINGS = {
    HearsTheWholeClip: "trailing silence",
    AsksForGradients: "frozen",
    IsTiny: "store dtype",
    NeedsHeadroom: "store dtype",
    HasNotes: "assumptions",
    RepeatsALayer: "layers",
    LosesTwoSteps: "frame rate",
    RoundsInBatches: "batch",
}


@pytest.mark.parametrize("kind", WARNINGS, ids=lambda kind: kind.__name__)
def test_what_can_be_lived_with_is_a_warning(kind):
    """One warning, no failure, and advice that ends in a sentence."""
    found = findings(kind)
    assert with_verdict(found, "fail") == set()
    assert with_verdict(found, "warn") == {WARNINGS[kind]}
    assert found[WARNINGS[kind]].expected.endswith(".")


def test_float32_stores_hold_what_float16_cannot():
    """The dtype of the recipe counts: the same features pass, and cost twice the bytes."""
    loud = findings(IsTooLoud, dtype="float32")
    assert loud["store dtype"].verdict == "ok"
    assert loud["cache size"].values["bytes_per_minute"] == 60 * 50 * DIM * 4
    assert findings(Toy)["cache size"].values["bytes_per_minute"] == 60 * 50 * DIM * 2
    assert findings(HasLayers, num_stores=3)["cache size"].values["bytes_per_minute"] == 3 * 60 * 50 * DIM * 2


def test_measured_numbers_are_right():
    """Against numbers from outside: lengths by hand, the gain of a linear encoder, parameters counted."""

    class Linear(Toy):
        def __init__(self):
            self.net = nn.Linear(3, 5).eval().requires_grad_(False)
            self.again = [self.net]  # shared, counted once

        def features(self, waveform):
            return F.pad(waveform, (0, -len(waveform) % HOP)).reshape(-1, HOP)[:, :DIM]

    found = findings(Linear)
    assert found["parameters"].values["parameters"] == 3 * 5 + 5
    # Features x become x / 10, which is 0.9 |x| away; two independent sounds are about √2 |x| apart.
    assert found["gain"].values["change"] == pytest.approx(0.9 / math.sqrt(2), rel=0.1)
    assert found["trailing silence"].values["change"] == 0.0
    assert found["store dtype"].values["largest"] == 1.0  # the square wave's
    assert found["shape"].values["seconds"] == [0.02, 0.1, 0.2, 1.7, 30_011 / RATE, 10.0, 25.0]
    assert found["shape"].values["tokens"] == [1, 5, 10, 85, 94, 500, 1250]
    np.testing.assert_allclose(found["coverage"].values["shown_at_seconds"], [1, 3, 5, 7, 8.5], atol=0.1)


def test_loudness_that_is_lost_is_said():
    """An encoder that normalises its input gives the same at -20 dB, and is told so; silence is another matter."""

    class Normalised(Toy):
        def features(self, waveform):
            return super().features(waveform / (waveform.std() + 1e-9))

    assert "loudness is lost" in findings(Normalised)["gain"].found
    assert "level is part of the features" in findings(Toy)["gain"].found


def test_a_clip_of_two_windows_is_tried_where_it_is_cheap():
    """max_seconds of 30 s: a clip of 36 s comes in two windows, and its end is heard."""

    class Thirty(Toy):
        max_seconds = 30.0

    found = findings(Thirty)
    assert found["shape"].values["seconds"][-1] == 36.0
    assert found["shape"].values["tokens"][-1] == 1800
    assert found["long clips"].values == {"seconds": [25.0, 36.0], "share_changed": [1.0, 1.0]}


def test_changes_are_measured_as_written():
    """The unit is the distance of two sounds, whatever offset they share; steps are measured by their own size."""

    class Shifted(Toy):
        def features(self, waveform):
            return 1000 + super().features(waveform).double()

    one, other = (log_spectra(sound(4.0, RATE, seed=seed), HOP) for seed in (0, 1))
    distance = math.sqrt(np.mean((one.numpy().astype(float) - other.numpy()) ** 2))
    for kind in (Toy, Shifted):
        patient = Patient(kind(), kind, (0,), "float16")
        assert patient.distance == pytest.approx(distance, rel=1e-3)
    assert patient.change(torch.zeros(2, 2), torch.tensor([[3.0, 0.0], [0.0, 3.0]])) == pytest.approx(
        math.sqrt(2 * 9 / 4) / distance, rel=1e-3
    )
    assert patient.change(one, one) == 0.0
    left, right = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    assert step_changes(left, right).tolist() == pytest.approx([0.0, 2 / 6])


def test_signals_are_what_they_say():
    """Peak, seed, the place of a replacement with its average level, and the faintest sound."""
    waveform = sound(3.0, RATE)
    assert waveform.dtype == torch.float32 and len(waveform) == 3 * RATE
    assert 0.25 * PEAK < waveform.abs().max() <= PEAK
    assert torch.equal(waveform, sound(3.0, RATE)) and not torch.equal(waveform, sound(3.0, RATE, seed=1))
    changed = replaced(waveform, 1.0, 1.5, sample_rate=RATE)
    different = (changed != waveform).nonzero().flatten()
    assert different.min() >= RATE and different.max() < 1.5 * RATE and len(different) > 0.45 * RATE
    square, click, faint = extremes(1.0, RATE).values()
    assert set(square.tolist()) == {-1.0, 1.0}
    assert (square[1:] != square[:-1]).sum() == 2 * 100 - 1  # half waves of 100 Hz in a second
    assert (click != 0).sum() == 1 and click.max() == 1.0
    assert 0 < faint.abs().max() <= FAINT * 1.0001


def test_modules_are_found_wherever_they_are_held():
    """In attributes of attributes, in dicts and lists, unregistered inside modules; circles end."""
    from torchaudio.transforms import MelSpectrogram

    class Holder:
        def __init__(self):
            self.me = self
            self.deep = {"a": [(nn.Linear(2, 2),)]}
            self.front_end = MelSpectrogram(n_mels=40)
            self.owner = nn.Sequential(nn.Linear(2, 2)).eval()
            self.owner.hidden = [nn.BatchNorm1d(2)]

    holder = Holder()
    modules = modules_in(holder)
    assert len(modules) == 1 + 3 + 2 + 1  # Linear; MelSpectrogram with two; Sequential with one; BatchNorm
    assert in_training_mode(modules) == ["BatchNorm1d", "Linear"]
    assert len(parameters_of(modules)) == 2 + 2 + 2
    before = state_of(modules)
    holder.owner.hidden[0].running_mean += 1
    holder.deep["a"][0][0].weight.data[0, 0] += 1
    assert changed_state(before, state_of(modules)) == ["BatchNorm1d.running_mean", "Linear.weight"]


def test_bytes_from_the_disk_are_the_systems_count(tmp_path):
    """The line of /proc/self/io counts; where it cannot be read, nothing is claimed."""
    (tmp_path / "io").write_text("rchar: 900\nwchar: 5\nread_bytes: 4096\n")
    assert cost._bytes_from_disk(tmp_path / "io") == 4096
    assert cost._bytes_from_disk(tmp_path / "absent") == 0


def test_digits():
    """Three significant ones, no exponent for large numbers."""
    assert [digits(value) for value in (0.01234, 12.345, 999.4, 1234.5)] == ["0.0123", "12.3", "999", "1234"]


def run(*words):
    return CliRunner().invoke(inspection.doctors, ["encoder", *map(str, words)])


def test_json_has_stable_keys_and_nothing_stays_behind(tmp_path, monkeypatch):
    """The keys that programs rely on; nothing is left in the working or the temporary folder."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    done = run("logmel", "--format", "json")
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert report.keys() == {"summary", "checks"}
    summary = {
        *("encoder", "device", "kind", "sample_rate", "frame_rate", "bands", "dim", "depth", "min_samples"),
        *("max_seconds", "verdict", "ok", "warn", "fail"),
    }
    assert report["summary"].keys() == summary
    assert (report["summary"]["encoder"], report["summary"]["verdict"]) == ("logmel", "ok")
    assert {check["name"] for check in report["checks"]} == CHECKS
    for check in report["checks"]:
        assert check.keys() == {"name", "verdict", "found", "expected", "values"}
    assert list(here.iterdir()) == [] and list(temporary.iterdir()) == []


PLAIN = """
class Mine:
    sample_rate, frame_rate, dim = 16_000, 50.0, 320

    def encode(self, waveform):
        return waveform.{cut}
"""


def test_the_worst_verdict_is_the_exit_code(tmp_path):
    """A user's class that reshapes breaks on lengths that its stride does not divide: 1; with unfold it is well: 0."""
    bad, good = tmp_path / "bad.py", tmp_path / "good.py"
    bad.write_text(PLAIN.format(cut="reshape(-1, 320)"))
    good.write_text(PLAIN.format(cut="unfold(0, 320, 320)"))
    done = run(bad, "--format", "table")
    assert done.exit_code == 1
    assert "1.87569 s" in done.stdout and "line 6" in done.stdout and "Expected: num_tokens" in done.stdout
    assert re.search(r"^fail\s+shape", done.stdout, re.M)
    assert run(good, "--format", "table").exit_code == 0


def test_settings_and_layers_reach_the_examination():
    """The dtype of --set decides the cost; a layer that is not there is refused, as is a format for spreadsheets."""
    done = run("logmel", "--format", "json", "--set", "store.dtype=float32")
    report = json.loads(done.stdout)
    sizes = {check["name"]: check["values"] for check in report["checks"]}
    assert sizes["cache size"] == {"bytes_per_minute": 60 * 25 * report["summary"]["dim"] * 4}
    for words, error in (
        (["logmel@3"], UsageError),
        (["logmell"], UnknownNameError),
        (["logmel", "--format", "csv"], 0),
    ):
        assert isinstance(run(*words).exception, error or UsageError)


def test_the_store_flag_is_refused_for_an_encoder():
    """An option without effect is an error, not passed over."""
    done = CliRunner().invoke(inspection.doctors, ["--store", "elsewhere", "encoder", "logmel"])
    assert isinstance(done.exception, UsageError)
    machine = CliRunner().invoke(inspection.doctors, ["--store", "elsewhere"])
    assert machine.exit_code == 0 and "elsewhere" in machine.stdout


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_obeys_nobody(tmp_path, monkeypatch, width):
    """No line is wider than the terminal, and an escape sequence in a name or a message is shown, not sent."""
    monkeypatch.setenv("COLUMNS", str(width))
    path = tmp_path / "\x1b[31m[bold]red.py"
    path.write_text(PLAIN.format(cut="unfold(0, 320, 320) if len(waveform) > 4000 else 1 / 0  # \\x1b[2J"))
    done = run(path, "--format", "table")
    assert done.exit_code == 1
    assert max(map(len, done.stdout.splitlines())) <= width
    assert "\x1b" not in done.stdout and r"\x1b[31m[bold]red.py" in done.stdout.replace("\n", "").replace(" ", "")


def test_the_command_is_there_and_a_wrong_spec_is_one_line(tmp_path):
    """`palprobe doctor encoder` in a process of its own: the usual one-line error, exit code 2, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "palprobe", "doctor", "encoder", str(tmp_path / "absent.py:Mine")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("palprobe: Encoder") and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_the_worst_finding_is_the_reports_verdict():
    """ok < warn < fail, and each is counted."""
    three = tuple(Finding("a", verdict, "", "", {}) for verdict in ("ok", "fail", "warn"))
    assert EncoderReport({}, three).verdict == "fail"
    assert EncoderReport({}, three[::2]).verdict == "warn"
    assert EncoderReport({}, three[:1]).as_json()["summary"] == {"verdict": "ok", "ok": 1, "warn": 0, "fail": 0}


@pytest.mark.slow
def test_an_untrained_whisper_is_no_worse_than_warned_of():
    """A real network with layers and windows: nothing fails."""
    recipe = load_recipe(settings=["encoder.untrained_window_seconds=2.0"])
    report = encoder_report("random:whisper:tiny@2", recipe, device="cpu")
    assert report.count("fail") == 0, [finding for finding in report.findings if finding.verdict == "fail"]
    assert report.encoder["depth"] == 4


TUTORIAL = (Path(__file__).parents[1] / "recipes" / "own-encoder.md").read_text()


def test_the_tutorials_encoder_is_as_good_as_it_says(tmp_path):
    """The Python block of the tutorial, as it stands there, passes every check."""
    (block,) = re.findall(r"```python\n(.*?)```", TUTORIAL, re.S)
    path = tmp_path / "my_encoder.py"
    path.write_text(block)
    report = encoder_report(str(path), Recipe(), device="cpu")
    assert [finding for finding in report.findings if finding.verdict != "ok"] == []
