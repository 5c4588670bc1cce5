"""Specs are taken apart as the grammar says."""

import pytest

from palprobe.errors import UsageError
from palprobe.specs import EncoderSpec, TaskSpec, parse_encoder, parse_task, split_encoders, split_list


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("logmel", EncoderSpec("logmel", "logmel")),
        ("whisper:tiny@6", EncoderSpec("whisper:tiny@6", "whisper", "tiny", None, "6")),
        ("random:whisper:tiny", EncoderSpec("random:whisper:tiny", "whisper", "tiny", untrained=True)),
        ("random2:beats@6", EncoderSpec("random2:beats@6", "beats", None, None, "6", untrained=True, init_seed=2)),
        ("random10:a.py:B", EncoderSpec("random10:a.py:B", "file", "B", "a.py", untrained=True, init_seed=10)),
        ("randomly:tiny", EncoderSpec("randomly:tiny", "randomly", "tiny")),
        ("beats=/a@b/x.pt@mean:4-8", EncoderSpec("beats=/a@b/x.pt@mean:4-8", "beats", None, "/a@b/x.pt", "mean:4-8")),
        ("my/enc.py:Mine", EncoderSpec("my/enc.py:Mine", "file", "Mine", "my/enc.py")),
        ("my/enc.py", EncoderSpec("my/enc.py", "file", None, "my/enc.py")),
        ("hf:org/repo@all", EncoderSpec("hf:org/repo@all", "hf", "org/repo", None, "all")),
        ("hf=folder", EncoderSpec("hf=folder", "hf", None, "folder")),
        ("xares:a b/c.py:Enc", EncoderSpec("xares:a b/c.py:Enc", "xares", "Enc", "a b/c.py")),
        ("hear:pkg.mod=w.pt", EncoderSpec("hear:pkg.mod=w.pt", "hear", None, "pkg.mod", arguments="w.pt")),
        (
            "random:s3prl:x.py:Up=ck.pt@weighted",
            EncoderSpec("random:s3prl:x.py:Up=ck.pt@weighted", "s3prl", "Up", "x.py", "weighted", True, "ck.pt"),
        ),
    ],
)
def test_encoder_grammar(text, expected):
    """[random[N]:]NAME[:VARIANT][=PATH][@LAYER], and a file of the user's own."""
    assert parse_encoder(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "random:", "random1:", "random9223372036854775808:beats", "@6", "whisper@six", "whisper@mean:4", "xares:"],
)
def test_encoder_specs_that_are_none(text):
    """An empty name, an unknown layer form or a seed that torch does not take is a usage error."""
    with pytest.raises(UsageError):
        parse_encoder(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("esc50", TaskSpec("esc50", "esc50")),
        ("fsdd:digit=/data/f", TaskSpec("fsdd:digit", "fsdd", "digit", "/data/f")),
        ("rows.jsonl", TaskSpec("rows.jsonl", "manifest", None, "rows.jsonl")),
        ("-", TaskSpec("-", "manifest", None, "-")),
        ("xares:peer/EVAL.yml", TaskSpec("xares:peer/EVAL.yml", "xares", None, "peer/EVAL.yml")),
    ],
)
def test_task_grammar(text, expected):
    """NAME[:VARIANT][=FOLDER], a manifest file, or stdin."""
    assert parse_task(text) == expected


def test_lists_quote_like_csv():
    """A name that holds a comma is quoted, as in CSV."""
    assert split_list('logmel, "whisper=/a,b" ,mfcc') == ["logmel", "whisper=/a,b", "mfcc"]


@pytest.mark.parametrize("text", ["whisper:tiny@all", "whisper:tiny", "whisper:tiny@weighted"])
def test_one_layer_of_an_encoder_is_a_spec(text):
    """`@all` becomes a spec for each layer, which reads back as itself; the encoder is the same at every layer."""
    one = parse_encoder(text).at(3)
    assert one == parse_encoder("whisper:tiny@3")
    assert one.whole == parse_encoder(text).whole
    assert one.whole != parse_encoder("random:whisper:tiny@3").whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("logmel", ["logmel"]),
        ("logmel+mfcc", ["logmel", "mfcc"]),
        ("beats=x.pt@3 + random:whisper:tiny@weighted", ["beats=x.pt@3", "random:whisper:tiny@weighted"]),
        ("logmel+my/enc.py:Mine", ["logmel", "my/enc.py:Mine"]),
        ("beats=/data/c++/x.pt+whisper:tiny", ["beats=/data/c++/x.pt", "whisper:tiny"]),
        ("beats=/a+b/x.pt", ["beats=/a+b/x.pt"]),
        ("hf:org/repo+hf:org/other+logmel", ["hf:org/repo", "hf:org/other", "logmel"]),
    ],
)
def test_encoders_heard_together(text, expected):
    """A plus joins encoders, unless it is part of a path."""
    assert split_encoders(text) == expected


@pytest.mark.parametrize("text", ["logmel+", "+logmel", "+", "logmel+logmel"])
def test_pluses_that_join_nothing(text):
    """Nothing beside a plus, or one encoder twice, is a usage error."""
    with pytest.raises(UsageError, match=r"beside a '\+'|twice"):
        split_encoders(text)
