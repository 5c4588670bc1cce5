"""LibriSpeech: its layout and splits on a miniature, and the whole ASR pipeline on the real clips."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from palprobe.errors import DataError
from palprobe.grid.work import run_grid
from palprobe.metrics.words import words_of
from palprobe.recipe import load_recipe
from palprobe.runs import Places
from palprobe.specs import parse_task
from palprobe.tasks import load_task
from palprobe.tasks.splits import split_task

DATA = os.environ.get("PALPROBE_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="PALPROBE_DATA names no folder of real recordings")
RECIPE = Path(__file__).parents[1] / "recipes" / "asr.yaml"
SPEAKERS = """\
; Some pipes: ID | SEX | SUBSET | MINUTES | NAME
14   | F | train-clean-100  | 25.03 | Kristin LeMoine
103  | M | train-clean-100  | 25.10 | Somebody | Else
61   | M | test-clean       | 8.08  | Paul-Gabriel Wiener
84   | F | dev-clean        | 8.02  | Christie Nowak
367  | F | test-other       | 6.74  | Kathleen Dang
"""


def write_chapter(folder: Path, subset: str, reader: str, texts: list[str], *, lost: tuple[int, ...] = ()) -> None:
    """One chapter in the official layout; files are empty, since a loader reads none of them."""
    chapter = folder / subset / reader / "7"
    chapter.mkdir(parents=True)
    lines = []
    for number, text in enumerate(texts):
        name = f"{reader}-7-{number:04d}"
        lines.append(f"{name} {text}\n")
        if number not in lost:
            (chapter / f"{name}.flac").touch()
    (chapter / f"{reader}-7.trans.txt").write_text("".join(lines))


@pytest.fixture
def corpus(tmp_path):
    """Two readers to train, one to validate, and one in each of two test subsets; one listed file is not there."""
    folder = tmp_path / "LibriSpeech"
    write_chapter(folder, "train-clean-100", "14", ["A DOG", "THE CAT'S TAIL"])
    write_chapter(folder, "train-clean-100", "103", ["HE RAN"])
    write_chapter(folder, "dev-clean", "84", ["NO"])
    write_chapter(folder, "test-clean", "61", ["YES", "LOST"], lost=(1,))
    write_chapter(folder, "test-other", "367", ["WHY NOT"])
    (folder / "SPEAKERS.TXT").write_text(SPEAKERS)
    (folder / "books").mkdir()  # other folders are passed over
    return folder


def load(folder, variant="asr"):
    return load_task(parse_task(f"librispeech:{variant}={folder}"), data_root=None, cache=Path("unused"))


def test_the_official_split_is_that_of_the_subsets(corpus):
    """train-, dev- and test- subsets have their roles; the reader is the group, and an absent file is counted."""
    data = load(corpus)
    assert [(e.id, e.group, e.split, e.part) for e in data.examples] == [
        ("84-7-0000", "84", "validation", "dev-clean"),
        ("61-7-0000", "61", "test", "test-clean"),
        ("367-7-0000", "367", "test", "test-other"),
        ("103-7-0000", "103", "train", "train-clean-100"),
        ("14-7-0000", "14", "train", "train-clean-100"),
        ("14-7-0001", "14", "train", "train-clean-100"),
    ]
    assert data.missing == ("test-clean/61/7/61-7-0001.flac",)
    assert (data.name, data.kind, data.folds) == ("librispeech:asr", "transcription", ())


def test_transcripts_are_open_questions_in_lower_case(corpus):
    """The words of *.trans.txt without capitals, and no choices."""
    texts = {example.id: (example.references, example.choices) for example in load(corpus).examples}
    assert texts["14-7-0001"] == (("the cat's tail",), ())


def test_who_reads_comes_from_the_table_of_speakers(corpus):
    """Sex is looked up by reader in SPEAKERS.TXT; whole subsets are scored together, as a classification."""
    data = load(corpus, "sex")
    assert {example.group: example.references[0] for example in data.examples} == {
        "14": "woman", "103": "man", "84": "woman", "61": "man", "367": "woman",
    }  # fmt: skip
    assert {example.choices for example in data.examples} == {("woman", "man")}
    assert {example.part for example in data.examples} == {None}
    assert data.missing == ()  # a file that only a transcript lists is none of this variant's
    split_task(data, None, load_recipe().data)  # and no rule of splits is broken


def test_without_training_subsets_readers_are_dealt_to_folds(tmp_path):
    """Readers in the order of their numbers, in turn; all clips of one are in one fold."""
    for reader in ("1998", "367", "2414", "1688"):
        write_chapter(tmp_path, "test-other", reader, ["A B", "C"])
    data = load(tmp_path)
    assert {(example.group, example.fold) for example in data.examples} == {
        ("367", 0), ("1688", 1), ("1998", 2), ("2414", 0),
    }  # fmt: skip
    assert data.folds == (0, 1, 2) and all(example.split is None for example in data.examples)
    splits = split_task(data, 0, load_recipe().data)
    assert {example.group for example in splits.test} == {"367", "2414"}


def test_a_table_of_speakers_as_csv_will_do(corpus):
    """speakers.csv stands in for SPEAKERS.TXT, and the corpus's own goes before it."""
    (corpus / "speakers.csv").write_text("speaker,sex,subset\n14,M,x\n103,M,x\n84,M,x\n61,M,x\n367,M,x\n")
    assert load(corpus, "sex").examples[0].references == ("woman",)
    (corpus / "SPEAKERS.TXT").unlink()
    assert load(corpus, "sex").examples[0].references == ("man",)


def test_what_is_wrong_with_a_folder_is_said(corpus, tmp_path):
    """No subset, no table, an unknown reader, a line without words: each names the place and what was expected."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"No transcript \*\.trans\.txt in .*empty.*SUBSET/READER/CHAPTER"):
        load(tmp_path / "empty")
    (corpus / "SPEAKERS.TXT").write_text(SPEAKERS.replace("367", "368"))
    with pytest.raises(DataError, match="Reader 367 of test-other has the sex None"):
        load(corpus, "sex")
    (corpus / "SPEAKERS.TXT").unlink()
    with pytest.raises(DataError, match=r"No SPEAKERS\.TXT"):
        load(corpus, "sex")
    (corpus / "test-other" / "367" / "7" / "367-7.trans.txt").write_text("367-7-0000 A\n367-7-0001\n")
    with pytest.raises(DataError, match="line 2: '367-7-0001' is no utterance's name followed by its words"):
        load(corpus)


@needs_data
@pytest.mark.data
def test_the_real_clips_are_read_as_their_folder_says():
    """60 utterances of six readers with transcripts in three folds; 30 readers to train and six to test by sex."""
    folder = Path(DATA) / "librispeech"
    spoken, heard = load(folder), load(folder, "sex")
    assert Counter(example.fold for example in spoken.examples) == {0: 20, 1: 20, 2: 20}
    assert len({example.group for example in spoken.examples}) == 6
    assert Counter((e.split, e.references[0]) for e in heard.examples) == {
        ("train", "woman"): 15, ("train", "man"): 15, ("test", "woman"): 30, ("test", "man"): 30,
    }  # fmt: skip
    assert all(
        example.audio.is_file() and soundfile.info(example.audio).samplerate == 16_000 for example in spoken.examples
    )


class Quiet:
    """A watcher who says nothing."""

    def stage(self, *_, **__):
        pass

    advance = end = stage


@needs_data
@pytest.mark.data
@pytest.mark.slow
def test_the_asr_recipe_runs_on_the_real_clips(tmp_path):
    """A few steps of the shipped recipe end in a word error rate that a plain alignment confirms."""
    few = ["train.steps=3", "train.batch_size=4", "folds=[1]", "data.limit=4", "integrations=[lal, pal@v3]"]
    recipe = load_recipe(RECIPE, settings=[*few, "scoring.max_new_tokens=40"])
    places = Places(store=tmp_path / "features", runs=tmp_path / "runs", out=tmp_path / "out", data_root=Path(DATA))
    outcome = run_grid(recipe, places, Quiet())
    assert not outcome.failures and len(outcome.results) == 2
    for found in outcome.results:
        result = json.loads((found.folder / "result.json").read_text())
        lines = [json.loads(line) for line in (found.folder / "predictions.jsonl").read_text().splitlines()]
        pairs = [(words_of(line["reference"]), words_of(line["prediction"])) for line in lines]
        rate = sum(distance(*pair) for pair in pairs) / sum(len(reference) for reference, _ in pairs)
        scores = {score["metric"]: score for score in result["scores"]}
        assert scores["wer"]["score"] == pytest.approx(rate)
        assert result["word_errors"]["words"] == sum(len(reference) for reference, _ in pairs)
        assert scores["wer"]["chance"] is None and {"wer", "cer", "invalid_rate"} <= set(scores)
        assert result["scoring"] == "generation" and result["word_normaliser"].startswith("words:")


def distance(left: list[str], right: list[str]) -> int:
    """Levenshtein's, by his recurrence."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]
