"""Which columns stand for those of a manifest, and which split a name says: two short rules, each by examples."""

import pytest

from palprobe.errors import DataError, UsageError
from palprobe.tasks.columns import placed, renamed, roles, split_of_name
from palprobe.tasks.rows import Row


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Train.clean.100", "train"),
        ("esc50_val", "validation"),
        ("dev-other-000", "validation"),
        ("test2", "test"),
        ("evaluation", "test"),
        ("trainer", None),
        ("device", None),
        ("validated", None),
        ("train_test", None),
        ("0000", None),
        ("", None),
    ],
)
def test_a_whole_word_says_the_split(name, split):
    """Letters between other signs are a word; a word that only begins so says nothing, nor do two that differ."""
    assert split_of_name(name) == split


def test_what_is_given_goes_first():
    """A column that is named stands for the answers, whatever else could; others keep a manifest's name."""
    columns, likely = ["label", "genre", "id", "speaker"], {"genre": "label"}
    assert roles(columns, (), likely, task="t", path="t") == {"label": "label", "id": "id"}
    given = (("label", "genre"), ("group", "speaker"))
    assert roles(columns, given, likely, task="t", path="t") == {"label": "genre", "group": "speaker", "id": "id"}
    assert roles(["genre"], (), likely, task="t", path="t") == {"label": "genre"}


def test_nothing_is_guessed():
    """Two likely columns, none, two kinds of answer, a name that is no column: each is an error."""
    with pytest.raises(DataError, match=r"several .* as in t:label=a\. Its columns: \['a', 'b'\]"):
        roles(["a", "b"], (), {"a": "label", "b": "transcript"}, task="t", path="t")
    with pytest.raises(DataError, match=r"no column is known to hold the answers.* as in t:label=COLUMN"):
        roles(["a"], (), {}, task="t", path="t")
    with pytest.raises(UsageError, match="label and transcript are; a task has one kind of answer"):
        roles(["a", "b"], (("label", "a"), ("transcript", "b")), {}, task="t", path="t")
    with pytest.raises(UsageError, match="'kind' is no column of a manifest"):
        roles(["a"], (("kind", "a"),), {}, task="t", path="t")


def test_captions_under_another_name_are_not_cut_at_bars():
    """`rain|wind` is two captions in a column called captions, as in a manifest, and one anywhere else."""
    assert renamed({"captions": "rain|wind"}, {"captions": "captions"}) == {"captions": "rain|wind"}
    assert renamed({"txt": "rain|wind", "x": 1}, {"captions": "txt"}) == {"captions": ["rain|wind"], "x": 1}
    assert renamed({"label": "a", "genre": "b"}, {"label": "genre"}) == {"label": "b"}


def test_a_row_gets_its_place():
    """Its own split under any usual name, else that of its file; a fold needs none."""

    def cells(said, **given):
        return dict(placed(Row("s", "row 1", given), said, named="Name it").cells)

    assert cells("train") == {"split": "train"}
    assert cells(None, split="dev") == {"split": "validation"}
    assert cells("test", fold="3") == {"fold": "3"}
    assert cells(None, split="dev", fold="3") == {"split": "validation", "fold": "3"}
    with pytest.raises(DataError, match=r"s, row 1: nothing says its split\. Name it"):
        cells(None)
    with pytest.raises(DataError, match="its split is 'dev', though its place says test"):
        cells("test", split="dev")
