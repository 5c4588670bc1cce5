"""What a finished probe is given to hear instead: another clip, silence, noise; each does what its name says."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import PLAIN
from test_bad_input import palprobe, refused  # noqa: F401 - fixtures

from palprobe.evaluation.heard import _noise, _shuffled, _silent, derangement
from palprobe.features.pooling import Pooling
from palprobe.training.probe import Standardise
from palprobe.types import Example


class Clips:
    """Features by key; the number in a token says whose it is."""

    num_layers, dim, frame_rate, bands, ready, info = 1, 3, 10.0, 2, False, {}

    def __init__(self, lengths):
        self.lengths = lengths
        self.names = list(lengths)

    def num_tokens(self, key):
        return self.lengths[key]

    def get_many(self, keys):
        return [torch.full((self.lengths[key], self.dim), float(self.names.index(key))) for key in keys]


def asked(*rows):
    """Usable items of (key, group, part) rows."""
    examples = tuple(
        Example(f"q{n}", group, Path("x"), "?", ("a",), part=part) for n, (_, group, part) in enumerate(rows)
    )
    return SimpleNamespace(examples=examples, keys=tuple(key for key, _, _ in rows))


@pytest.mark.parametrize("sizes", [[1, 1], [1] * 9, [2, 2], [3, 2, 1], [5, 5, 1, 1], [4, 1], [7, 2, 2], [6]])
def test_everyone_hears_another_clip_and_of_another_group_where_that_can_be(sizes):
    """A bijection without fixed points; of a group of m among n clips, just max(0, 2m - n) must stay within."""
    groups = {f"{group}-{clip}": str(group) for group, size in enumerate(sizes) for clip in range(size)}
    for seed in range(20):
        heard = derangement(groups, seed)
        assert sorted(heard.values()) == sorted(groups)
        assert all(clip != other for clip, other in heard.items())
        within = sum(groups[clip] == groups[other] for clip, other in heard.items())
        assert within == max(0, 2 * max(sizes) - sum(sizes))


def test_the_seed_decides_who_hears_what():
    """The same seed gives the same pairs, another seed others; the order of the clips does not matter."""
    groups = {str(number): str(number) for number in range(12)}
    backwards = dict(reversed(groups.items()))
    assert derangement(groups, 3) == derangement(backwards, 3) != derangement(groups, 4)


def test_shuffled_questions_hear_a_clip_of_their_own_type():
    """Both encoders are given the same other clip, of a question of the same part; two questions on a clip agree."""
    lengths = {"a": 4, "b": 6, "c": 2, "d": 8}
    usable = asked(("a", "1", "x"), ("a", "1", "x"), ("b", "2", "x"), ("c", "3", "y"), ("d", "3", "y"))
    heard = _shuffled([Clips(lengths), Clips(lengths)], usable, 0)
    for source in heard.sources:
        found = source.get_many(list(usable.keys))
        assert [clip[0, 0].item() for clip in found] == [1, 1, 0, 3, 2]
        assert [source.num_tokens(key) for key in usable.keys] == [len(clip) for clip in found] == [6, 6, 4, 8, 2]
    assert heard.told == {"heard_own_group": 2}  # c and d, of one group, are all there is of y


def test_a_part_of_one_clip_is_shuffled_with_the_others():
    """Nobody hears its own clip for want of another about the same type of question."""
    usable = asked(("a", "1", "x"), ("b", "2", "x"), ("c", "3", "y"))
    (source,) = _shuffled([Clips({"a": 2, "b": 2, "c": 2})], usable, 0).sources
    assert sorted(clip[0, 0].item() for clip in source.get_many(["a", "b", "c"])) == [0, 1, 2]
    assert all(clip[0, 0].item() != own for own, clip in enumerate(source.get_many(["a", "b", "c"])))


def test_silence_is_as_long_as_the_clip():
    """The silent clip's tokens, over and over or cut."""
    source = Clips({"silence": 4, "long": 10, "short": 2})
    source.get_many = lambda keys: [torch.arange(4.0)[:, None]] if keys == ["silence"] else None
    heard = _silent(source, "silence")
    assert [clip[:, 0].tolist() for clip in heard.get_many(["long", "short"])] == [
        [0, 1, 2, 3, 0, 1, 2, 3, 0, 1],
        [0, 1],
    ]
    assert heard.num_tokens("long") == 10


@pytest.mark.parametrize("pooling", [Pooling(grid=2), Pooling(grid=2, bands=2, time=3)])
def test_noise_has_the_moments_of_the_features(pooling):
    """Mean and deviation of each dimension are those that were measured, before and after pooling, within five
    standard errors; lengths are the clips' own, and what a clip hears does not depend on its company."""
    standardise = Standardise(3)
    features = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 1, 30]) + 7
    standardise.measure([features])
    clips = Clips({f"c{number}": 40 + 2 * number for number in range(60)})
    heard = _noise(clips, SimpleNamespace(standardise=standardise, pooling=pooling), "0.0")
    found = heard.get_many(clips.names)
    assert [len(clip) for clip in found] == list(clips.lengths.values())
    for values in (torch.cat(found), torch.cat([pooling.apply(clip) for clip in found])):
        error = 5 * (len(torch.cat([pooling.apply(clip) for clip in found]))) ** -0.5
        assert ((values.mean(0) - features.mean(0)).abs() < error * features.std(0)).all()
        assert ((values.std(0) / features.std(0) - 1).abs() < error).all()
    assert torch.equal(heard.get_many(["c7"])[0], found[7])
    assert not torch.equal(found[7][:40], found[8][:40])


def test_controls_of_a_comparison_end_to_end(palprobe, refused, tones):  # noqa: F811
    """Every control is a row, a second call finds all done, and planned lines and `eval --control` give the same."""
    words = ["compare", "--tasks", tones, "--integrations", "lal", "--folds", "0", *PLAIN, "--format", "json"]
    words += ["--set", "train.steps=2", "--set", "train.batch_size=8", "--set", "scoring.bootstrap_draws=200"]
    words += ["--set", "controls=[shuffled, silence, gaussian, blind, verbaliser]"]
    code, out, err = palprobe(*words, "--plan")
    assert code == 0 and "1 blind runs are not in the plan" in err
    assert "controls=[silence]" in out.splitlines()[0] and "blind" not in out
    code, out, err = palprobe(*words)
    assert code == 0, err
    assert "tones.csv: 12 test items" in err and "3 of 3 runs to train" in err
    rows = {row["control"]: row for row in json.loads(out) if row["metric"] == "accuracy"}
    assert sorted(rows) == ["blind", "gaussian", "none", "shuffled", "silence", "verbaliser"]
    blind = rows["blind"]
    assert (blind["encoder"], blind["layer"], blind["audio_tokens"]) == ("blind", "-", rows["none"]["audio_tokens"])
    assert blind["trainable_parameters"] < rows["none"]["trainable_parameters"]
    assert rows["shuffled"]["run_id"] == rows["none"]["run_id"] != rows["verbaliser"]["run_id"]
    assert palprobe(*words)[1:] == (out, f"Report: {Path('results/compare')}\n")
    run = Path("runs") / rows["none"]["run_id"]
    result = run / "eval/test-likelihood-shuffled/result.json"
    assert json.loads(result.read_text())["heard"] == {"heard_own_group": 0}
    before = result.with_name("predictions.jsonl").read_text()
    for path in result.parent.iterdir():
        path.unlink()
    lines = palprobe(*words, "--plan")[1].splitlines()
    assert len(lines) == 1 + 3 + 3 and sum("--encoder blind:" in line for line in lines) == 1
    (line,) = [line for line in lines if line.startswith(f"palprobe eval {run}")]
    assert "--control none,shuffled,silence,gaussian" in line
    code, _, err = palprobe("eval", run, "--control", "shuffled", "--set", "scoring.bootstrap_draws=200")
    assert code == 0, err
    assert result.with_name("predictions.jsonl").read_text() == before
    code, again, err = palprobe("eval", run, "--control", "shuffled", "--rescore", "--set", "scoring.rule=per-byte")
    assert code == 0 and "likelihood:per-byte,shuffled" in again, err
    refused("eval", run, "--control", "noise", code=2, texts=["--control noise: no such control", "gaussian"])
    refused("eval", run, "--control", "silence", "--attention", code=2, texts=["goes with neither"])
    blind_run = Path("runs") / blind["run_id"]
    refused("eval", blind_run, "--control", "silence", code=2, texts=["is a control itself (blind)"])
