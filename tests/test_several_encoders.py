"""Encoders heard together, end to end: `A+B` through the commands, and one of them left out at evaluation."""

import json
from pathlib import Path

import pytest
from conftest import PLAIN
from typer.testing import CliRunner

from palprobe.cli import app
from palprobe.errors import RecipeError, UsageError
from palprobe.files import load_tensors

SMALL = [*PLAIN, "--set", "train.steps=30", "--set", "train.batch_size=8"]


def palprobe(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def rows_of(done) -> dict[tuple[str, str], dict]:
    """(encoder, integration) → the row of its accuracy."""
    rows = [row for row in json.loads(done.stdout) if row["metric"] == "accuracy"]
    return {(row["encoder"], row["integration"]): row for row in rows}


def test_two_encoders_are_compared_with_each_alone(tones):
    """`logmel+mfcc` is a row of its own whose tokens are those of both; each clip is encoded once for all cells."""
    asked = ["compare", "--encoders", "logmel+mfcc,logmel,mfcc", "--integrations", "plits,lal", "--folds", "0"]
    done = palprobe(*asked, "--tasks", tones, *SMALL, "--format", "json")
    rows = rows_of(done)
    assert len(rows) == 6
    for integration in ("plits", "lal"):
        both, one, other = (rows[name, integration] for name in ("logmel+mfcc", "logmel", "mfcc"))
        assert both["audio_tokens"] == one["audio_tokens"] + other["audio_tokens"]
        assert both["tokens_per_second"] == one["tokens_per_second"] + other["tokens_per_second"]
        assert both["layer"] == "last+last"
        assert both["score"] > 0.5, "three tones are learned"
    assert sum("36 clips encoded" in line for line in done.stderr.splitlines()) == 2
    again = palprobe(*asked, "--tasks", tones, *SMALL, "--format", "json")
    assert "train" not in again.stderr and again.stdout == done.stdout


def test_pal_sends_each_encoder_its_way(tones):
    """A speech and a general encoder: the probe has a plits and a lal branch; alone, each is the cell of its route."""
    Path("spoken.py").write_text(
        "class Spoken:\n"
        "    sample_rate, frame_rate, dim, kind = 16_000, 50.0, 1, 'speech'\n"
        "    def encode(self, waveform):\n"
        "        return waveform.unfold(0, 320, 320).square().mean(-1, keepdim=True)\n"
    )
    asked = ["compare", "--encoders", "spoken.py:Spoken+logmel,spoken.py:Spoken,logmel", "--folds", "0"]
    done = palprobe(*asked, "--tasks", tones, "--integrations", "pal,lal", *SMALL, "--format", "json")
    rows = rows_of(done)
    assert {name: integration for name, integration in rows if integration.startswith("pal")} == {
        "spoken.py:Spoken+logmel": "pal",
        "spoken.py:Spoken": "pal (= plits)",
        "logmel": "pal (= lal)",
    }
    assert rows["logmel", "pal (= lal)"]["run_id"] == rows["logmel", "lal"]["run_id"]
    run = Path("runs") / rows["spoken.py:Spoken+logmel", "pal"]["run_id"]
    names = load_tensors(run / "probe.safetensors")
    assert "branches.0.integration.connector.1.weight" in names
    assert "branches.1.integration.connector.1.weight" in names
    assert "recipe.yaml" in {path.name for path in run.iterdir()}
    line = palprobe("compare", "--encoders", "spoken.py:Spoken+logmel", "--tasks", tones, "--folds", "0", *SMALL,
                    "--integrations", "pal", "--plan=train").stdout  # fmt: skip
    assert "--integration pal" in line and "--encoder spoken.py:Spoken+logmel" in line
    trained = palprobe("train", "--encoder", "spoken.py:Spoken+logmel", "--task", tones, "--integration", "pal",
                       "--fold", "0", *SMALL)  # fmt: skip
    assert trained.stdout.strip() == str(run), "the planned line finds the run"


def test_an_encoder_is_left_out_at_evaluation(tones):
    """`eval --drop` is a control of its own beside the result, made from the same probe with fewer tokens."""
    palprobe("extract", "--encoder", "logmel+mfcc", "--data", tones)
    run = palprobe("train", "--encoder", "logmel+mfcc", "--task", tones, "--fold", "1", *SMALL).stdout.strip()
    whole = json.loads(palprobe("eval", run, "--format", "json").stdout)[0]
    for name, folder in (("logmel", "test-likelihood-without-1"), ("mfcc", "test-likelihood-without-2")):
        row = json.loads(palprobe("eval", run, "--drop", name, "--format", "json").stdout)[0]
        assert row["control"] == f"without {name}"
        assert row["audio_tokens"] == whole["audio_tokens"] / 2
        assert (Path(run) / "eval" / folder / "result.json").is_file()
    assert json.loads(palprobe("eval", run, "--format", "json").stdout)[0] == whole
    assert len(palprobe("report", "runs", "--format", "csv").stdout.splitlines()) == 1 + 3 * 4  # of four metrics


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--encoders", "logmel+"], UsageError, "nothing stands beside a"),
        (["--encoders", "logmel+logmel"], UsageError, "the same one stands there twice"),
        (["--encoders", "random:whisper:tiny@all+logmel"], UsageError, "one cell for each layer"),
        (["--integrations", "pal,pal@v2"], UsageError, "are the same one"),
        (["--integrations", "pal@v1"], RecipeError, "from:4.*the LLM has layers 0 to 1"),
        (
            ["--set", "integration.route={whisper: lal}"],
            RecipeError,
            "names 'whisper', which is no kind",
        ),
        (["--set", "integration.route={speech: flamingo}"], RecipeError, "integration.route.speech"),
        (["--integrations", "pal", "--set", "integration.connector=perlayer"], RecipeError, "Did you mean 'per_layer'"),
    ],
)
def test_what_cannot_be_heard_together_is_said_before_any_work(tones, arguments, error, message):
    """Nothing is written for a grid that cannot run whole."""
    with pytest.raises(error, match=message):
        CliRunner().invoke(app, ["compare", "--tasks", str(tones), *arguments], catch_exceptions=False)
    assert not Path("features").exists() and not Path("runs").exists()


def test_only_the_run_s_encoders_can_be_dropped(tones):
    """A name that the run does not hear, and all that it hears, are refused."""
    palprobe("extract", "--encoder", "logmel+mfcc", "--data", tones)
    run = palprobe("train", "--encoder", "logmel+mfcc", "--task", tones, "--fold", "1", *SMALL).stdout.strip()
    for dropped, message in (("beats", "hears logmel and mfcc"), ("logmel,mfcc", "would hear nothing")):
        with pytest.raises(UsageError, match=message):
            CliRunner().invoke(app, ["eval", run, "--drop", dropped], catch_exceptions=False)
