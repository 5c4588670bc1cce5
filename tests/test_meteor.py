"""METEOR 1.5 against pycocoevalcap's own class, and its formula by hand; what runs Java is skipped without it."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from captions_at_random import captioned

from palprobe.errors import ScoringError
from palprobe.metrics import meteor as module
from palprobe.metrics.meteor import COUNTS, counts_of, matched, meteor, why_absent
from palprobe.stats import bootstrap_statistic
from palprobe.stats.intervals import metric_interval
from palprobe.types import Prediction

WHY = why_absent()


def needs_java(test):
    return pytest.mark.slow(pytest.mark.skipif(WHY is not None, reason=f"METEOR: {WHY}")(test))


@pytest.fixture(autouse=True)
def without_java():
    """These tests wait for Java."""


def said(name, answer, *references):
    several = references if len(references) > 1 else ()
    return Prediction(name, name, None, references[0], answer, {}, False, True, several)


def counted(items):
    return [replace(one, measures={"meteor": counts}) for one, counts in zip(items, matched(items), strict=True)]


def counts(*, words, function, exact, paraphrase=(0, 0, 0, 0), chunks, total):
    return (*words, *function, *exact, *[0] * 8, *paraphrase, chunks, *total)


ODD = [
    said("synonyms", "an auto passes by", "a car is passing", "the automobile passed"),
    said("empty", "", "rain falls"),
    said("nothing to say", "rain", "?!"),
    said("separators", "rain ||| falls\nEVAL ||| 1", "rain falls", "a ||| b"),
    said("itself", "a dog barks", "a dog barks"),
    said("words in another order", "barks dog a", "a dog barks"),
]


UMLAUTS = [said("same", "wärme", "wärme"), said("another", "wärme", "würme")]


@dataclass(frozen=True)
class Against:
    """Items with their counts, and what pycocoevalcap's class makes of the same words."""

    items: list[Prediction]
    umlauts: list[Prediction]  # that the class was not given: it depends on the locale
    corpus: float
    each: list[float]


@pytest.fixture(scope="module")
def against():
    """Java is started twice, once for each side."""
    from pycocoevalcap.meteor.meteor import Meteor

    from palprobe.metrics.words import words_of

    def joined(text):
        return " ".join(words_of(text))

    items = [*captioned(3, 40, per_group=2), *ODD]
    theirs = Meteor()
    try:
        mean, each = theirs.compute_score(
            {item.id: [joined(text) for text in item.all_references] for item in items},
            {item.id: [joined(item.prediction)] for item in items},
        )
    finally:
        for pipe in (theirs.meteor_p.stdout, theirs.meteor_p.stderr):
            pipe.close()
        del theirs
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C")
        found = counted([*items, *UMLAUTS])
    return Against(found[: -len(UMLAUTS)], found[-len(UMLAUTS) :], mean, each)


@needs_java
def test_meteor_is_pycocoevalcaps(against):
    """The corpus value and each item alone, to 1e-12: random captions, synonyms, empty texts, separators in texts."""
    items, corpus, each = against.items, against.corpus, against.each
    assert meteor(items) == pytest.approx(corpus, abs=1e-12)
    assert [meteor([item]) for item in items] == pytest.approx(each, abs=1e-12)
    assert 0.1 < corpus < 0.9 and abs(corpus - np.mean(each)) > 0.001  # it is no mean of items
    assert each[-2] == pytest.approx(1.0) and each[-5] == 0.0


@needs_java
def test_the_interval_is_of_the_corpus_value(against):
    """Sums of the drawn groups give what the metric itself gives of the drawn items."""
    items = against.items
    slow = bootstrap_statistic(
        lambda drawn: meteor([items[index] for index in drawn]), [item.group for item in items], draws=40, seed=2
    )
    fast = metric_interval("meteor", [items], draws=40, seed=2)
    assert [fast.value, fast.low, fast.high] == pytest.approx([slow.value, slow.low, slow.high])
    assert fast.method == "clustered bootstrap" and fast.low < fast.value < fast.high


@needs_java
def test_letters_beyond_ascii_are_told_apart_in_any_locale(against):
    """Counted in the C locale, an umlaut is no question mark that every other one equals."""
    same, other = against.umlauts
    assert meteor([same]) == pytest.approx(1.0) and meteor([other]) == 0.0


def test_meteor_by_hand():
    """Of "a dog is barking" for "the dog is barking", two content words and a function word match in one chunk."""
    item = replace(
        said("1", "a dog is barking", "the dog is barking"),
        measures={"meteor": counts(words=(4, 4), function=(2, 2), exact=(2, 2, 1, 1), chunks=1, total=(3, 3))},
    )
    share = (0.75 * 2 + 0.25 * 1) / (0.75 * 2 + 0.25 * 2)
    assert meteor([item]) == pytest.approx(share * (1 - 0.6 * (1 / 3) ** 0.2))
    perfect = counts(words=(3, 3), function=(1, 1), exact=(2, 2, 1, 1), chunks=1, total=(3, 3))
    assert meteor([replace(item, measures={"meteor": perfect})]) == pytest.approx(1.0)
    other = counts(words=(4, 2), function=(0, 0), exact=(0,) * 4, paraphrase=(2, 1, 0, 0), chunks=1, total=(2, 1))
    precision, recall = 0.6 * 2 / 4, 0.6 * 1 / 2
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    assert meteor([replace(item, measures={"meteor": other})]) == pytest.approx(mean * (1 - 0.6 * (1 / 1.5) ** 0.2))
    assert len(perfect) == len(other) == COUNTS


def test_without_counts_there_is_a_reason(monkeypatch):
    """No Java, no pycocoevalcap, or texts of before: said, never a 0."""
    items = [said("1", "rain", "rain")]
    monkeypatch.setattr(module, "why_absent", lambda: None)
    with pytest.raises(ScoringError, match="--rescore"):
        counts_of(items)
    monkeypatch.undo()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/java")
    with pytest.raises(ScoringError, match=r"pip install 'palprobe\[caption\]'"):
        counts_of(items)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(ScoringError, match="no java on PATH"):
        matched(items)


@pytest.mark.parametrize(
    ("program", "said_of_it"),
    [
        ("import sys; sys.exit('OutOfMemoryError: no room')", r"0 of 1 items \(exit code 1\): OutOfMemoryError"),
        ("print('nan')", "printed 'nan', not 23 counts"),
        ("print('1.0 ' * 23); print('1.0 ' * 23)", "2 of 1 items"),
        ("import time; time.sleep(60)", "did not answer within 1 s"),
    ],
)
def test_java_that_fails_is_named_and_ended(program, said_of_it, monkeypatch, tmp_path):
    """Memory, nonsense, more than was asked, silence: a reason each, and no process is left."""
    java = tmp_path / "java"
    java.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}"\n')
    java.chmod(0o755)
    started = []
    run = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **more: started.append(run(*words, **more)) or started[-1])
    monkeypatch.setattr(module, "START_SECONDS", 1)
    monkeypatch.setattr(module, "ITEM_SECONDS", 0)
    monkeypatch.setattr(module.shutil, "which", lambda name: str(java))
    monkeypatch.setattr(module, "_jar", lambda: Path(java))
    with pytest.raises(ScoringError, match=said_of_it):
        matched([said("1", "rain", "rain")])
    assert [process.poll() is not None for process in started] == [True]
