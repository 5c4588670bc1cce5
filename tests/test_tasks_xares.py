"""tasks/xares: files of xares-llm become the examples that are written out here, and what is left out is counted."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import PLAIN
from tar_shards import clip, samples, write_shard
from test_bad_input import palprobe, refused  # noqa: F401 - fixtures
from test_training import make_probe

from palprobe.errors import DataError, UsageError
from palprobe.evaluation.xares import OVERALL
from palprobe.features.extraction import extract
from palprobe.llm import find_llm, load_tokenizer
from palprobe.llm.model import left_padded
from palprobe.llm.tokenizer import encode_prompt, encode_question
from palprobe.recipe import load_recipe
from palprobe.runs import Cell, Places
from palprobe.specs import TaskSpec, parse_encoder, parse_task
from palprobe.tasks import load_task
from palprobe.tasks.xares import unlikely
from palprobe.tasks.xares_yaml import read_peer_file
from palprobe.training.batches import IGNORED, collate
from palprobe.training.examples import mix_of
from palprobe.training.lesson import plan_lesson
from palprobe.training.train_cell import train_cell
from palprobe.training.workspace import Workspace

XARES_RECIPE = Path(__file__).parents[1] / "recipes" / "xares-llm.yaml"


def write_yaml(name, content):
    """The file as a person or PyYAML would write it."""
    Path(name).write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return f"xares:{name}"


def load(spec):
    return load_task(parse_task(spec), data_root=None, cache=Path("features/stimuli"))


def train_file(**sets):
    return write_yaml("TRAIN.yaml", {"train_data": sets})


def eval_file(metric="Accuracy", prompt="Which?", key="label", data="x.tar", **more):
    content = {"data": {"prompt": prompt, "data": [data], "key": key}, "metric": metric, **more}
    return write_yaml("EVAL.yaml", {"toy": content})


def refs(spec):
    return [example.references for example in load(spec).examples]


# --- the grammar


def test_the_task_grammar():
    """`xares:FILE.yaml` is a file of xares-llm; a .py under that prefix is an encoder, not a task."""
    assert parse_task("xares:a/B.yaml") == TaskSpec("xares:a/B.yaml", "xares", None, "a/B.yaml")
    with pytest.raises(UsageError, match=r"names no YAML file of xares-llm. Write xares:FILE\.yaml"):
        parse_task("xares:enc.py")


# --- examples


def test_a_training_file():
    """Every answer of a list is trained on; ids name set, shard and sample; the split is train; each set is a part."""
    write_shard(Path("x-0.tar.gz"), samples([{"label": "dog"}, {"label": ["cat", "a cat"]}]))
    write_shard(Path("x-1.tar.gz"), samples([{"label": "cow"}], start=7))
    spec = train_file(toy={"prompt": "Which?", "data": ["x-{0..1}.tar.gz"], "key": "label"})
    data = load(spec)
    assert [(one.id, one.references, one.prompt, one.split, one.part, one.part_share) for one in data.examples] == [
        ("toy/x-0/s0", ("dog",), "Which?", "train", "toy", None),
        ("toy/x-0/s1#1", ("cat",), "Which?", "train", "toy", None),
        ("toy/x-0/s1#2", ("a cat",), "Which?", "train", "toy", None),
        ("toy/x-1/s7", ("cow",), "Which?", "train", "toy", None),
    ]
    assert (data.name, data.kind, data.missing, data.notes) == ("xares:TRAIN.yaml", "open", (), ())
    assert data.examples[1].audio == data.examples[2].audio
    assert data.examples[1].audio.read_bytes() == clip(seed=1)
    assert data.examples[1].group == data.examples[2].group != data.examples[0].group


def test_an_evaluation_file():
    """Every set is a part of one test set, judged by its metric; an item with several answers is asked once."""
    write_shard(Path("x.tar"), samples([{"label": "dog"}, {"captions": ["a", "b"]}]))
    content = {
        name: {"data": {"prompt": "Which?", "data": "x.tar", "key": "label"}, "metric": metric, **more}
        for name, metric, more in (
            ("one", "accuracy", {}),
            ("two", "mAP", {"metric_args": {"num_classes": 200}, "weight": 2, "batch_size": 8, "num_workers": 0}),
        )
    }
    data = load(write_yaml("EVAL.yaml", content))
    assert [(one.id, one.references, one.split, one.part, dict(one.meta)) for one in data.examples] == [
        ("one/x/s0", ("dog",), "test", "one", {"xares_metric": "Accuracy", "xares_weight": "1.0"}),
        ("one/x/s1", ("a", "b"), "test", "one", {"xares_metric": "Accuracy", "xares_weight": "1.0"}),
        *(
            (name, answers, "test", "two", {"xares_metric": "mAP", "xares_weight": "2.0", "xares_classes": "200"})
            for name, answers in (("two/x/s0", ("dog",)), ("two/x/s1", ("a", "b")))
        ),
    ]
    assert {one.choices for one in data.examples} == {()}


def test_labels_that_are_compared_as_wholes_are_choices():
    """So they can be ranked by likelihood; not where an item has several answers, or another metric."""
    write_shard(Path("x.tar"), samples([{"label": "dog"}, {"label": "cat"}, {"label": "dog"}]))
    assert {one.choices for one in load(eval_file()).examples} == {("cat", "dog")}
    assert {one.choices for one in load(eval_file("iWER")).examples} == {()}


@pytest.mark.parametrize(("metric", "kind"), [("iCER", "transcription"), ("FENSE", "captioning"), ("mAP", "open")])
def test_the_kind_follows_the_metrics(metric, kind):
    """Transcripts where all sets are, captions where all are; what is not computed is said, with the reason."""
    write_shard(Path("x.tar"), samples([{"label": "dog"}]))
    data = load(eval_file(metric))
    assert data.kind == kind
    told = "toy: FENSE is not computed, as it compares sentences by trained models, which palprobe does not bring"
    assert data.notes == ((told,) if metric == "FENSE" else ())


@pytest.mark.parametrize(
    ("content", "key", "expected"),
    [
        ({"a": "", "b": "two"}, "a;b", ("two",)),
        ({"a": "one", "b": "two"}, "a;b", ("one",)),
        ({"text": "t", "caption": "c"}, "none;nor", ("c",)),
        ({"text": "t", "captions": ["c", "d"]}, None, ("c", "d")),
        ({"a": 5}, "a", ("5",)),
        ({"a": 2.50}, "a", ("2.5",)),
        ({"a": 0, "text": "t"}, "a", ("t",)),
        ({"a": 0}, "a", ("0",)),
        ({"a": ["x", 3, "", None, {"y": 1}]}, "a", ("x", "3")),
        ({"a": " two \n lines "}, "a", ("two lines",)),
    ],
)
def test_the_key_that_has_the_answer(content, key, expected):
    """The first that holds something, then captions, caption, text; numbers as text; a 0 if there is nothing else."""
    write_shard(Path("x.tar"), samples([content]))
    assert refs(eval_file("iWER", key=key)) == [expected]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("?!a", False),  # two of three
        ("a!", True),  # a half
        ("e\u0301" * 4, False),  # four accents
        ("ae\u0301" * 3, True),  # three
        ("abababababa", False),  # eleven, of two kinds
        ("ababababab", True),  # ten
        ("abcdabcdabcd", True),
        ("音声", True),
    ],
)
def test_texts_that_the_peer_leaves_out(text, kept):
    """More than half signs; more than three combining marks; over ten characters of fewer than four kinds."""
    assert (unlikely(text) is None) == kept


def test_what_is_left_out_is_counted_with_the_reason():
    """Audio without answer and answer without audio, formats that are not read, odd texts: listed, and summed up."""
    members = [
        *samples([{"label": "dog"}, {"other": 1}, {"label": "?!?"}, {"label": {"x": 1}}, {"label": ["cow", "!!!"]}]),
        ("lonely.json", b'{"label": "dog"}'),
        ("silent.wav", clip(seed=50)),
        ("lines.wav", clip(seed=51)),
        ("lines.jsonl", b'{"label": "dog"}'),
        ("old.wma", b"x"),
        ("old.json", b'{"label": "dog"}'),
    ]
    write_shard(Path("x.tar"), members)
    data = load(eval_file("iWER"))
    assert [one.id for one in data.examples] == ["toy/x/s0", "toy/x/s4"]
    assert data.missing == (
        "toy/x/s1: no answer under label, captions, caption, text",
        "toy/x/s2: more than half of the answer is neither letter nor digit",
        "toy/x/s3: the answer is an object",
        "toy/x/s4#2: more than half of the answer is neither letter nor digit",
        "toy/x/lonely: no audio",
        "toy/x/silent: no JSON object beside the audio (nothing is)",
        "toy/x/lines: no JSON object beside the audio (.jsonl is)",
        "toy/x/old: audio in .wma, which is not read",
    )
    assert "toy: 2 left out, more than half of the answer is neither letter nor digit" in data.notes


def test_a_set_of_which_nothing_can_be_used_is_an_error():
    """The peer crashes on .jsonl and stops at shards of .cls; here one line says what was found."""
    for suffix in (".jsonl", ".cls"):
        write_shard(Path("x.tar"), [("a.wav", clip()), (f"a{suffix}", b"3")])
        with pytest.raises(DataError, match=rf"'toy': none of 1 samples .* no JSON object beside the audio \({suffix}"):
            load(eval_file())
    write_shard(Path("x.tar"), [])
    with pytest.raises(DataError, match="its shards hold no sample"):
        load(eval_file())


def test_of_several_prompts_each_item_draws_its_own():
    """By its name: the same in every run, each prompt about as often."""
    write_shard(Path("x.tar"), samples([{"label": "dog"}] * 40, seconds=0.01))
    first, again = ([one.prompt for one in load(eval_file("iWER", prompt=["A?", "B?"])).examples] for _ in "12")
    assert first == again
    assert 10 < Counter(first)["A?"] < 30


def test_shards_of_one_name_in_two_folders():
    """Their ids hold as much of the path as tells them apart."""
    for folder in ("p", "q"):
        write_shard(Path(folder, "x.tar"), samples([{"label": "dog"}]))
    spec = train_file(toy={"prompt": "?", "data": ["p/x.tar", "q/x.tar"], "key": "label"})
    assert [one.id for one in load(spec).examples] == ["toy/p/x/s0", "toy/q/x/s0"]


# --- YAML


def test_yaml_is_read_as_it_was_meant():
    """1e-4 is a number and no is a word, unlike in YAML 1.1; a quoted number is one; what trains is told for --set."""
    text = """
train_data:
  no: {prompt: "yes", data: x.tar, key: on, prob: "0.5"}
  off: {prompt: Off, data: x.tar, prob: 1e-1}
learning_rate: 1e-4
max_steps: 5000
warmup_steps: 200
per_device_train_batch_size: 8
decoder_model_name: org/llm
seed: 7
output_dir: out
sort_by_length: true
"""
    write_yaml("TRAIN.yaml", text)
    file = read_peer_file(Path("TRAIN.yaml"))
    found = [(one.name, one.prompts, one.keys, one.probability) for one in file.sets]
    assert found == [("no", ("yes",), ("on",), 0.5), ("off", ("Off",), (), 0.1)]
    assert set(file.settings) == {
        "train.learning_rate=0.0001",
        "train.steps=5000",
        "train.warmup_fraction=0.04",
        "train.batch_size=8",
        "llm=org/llm",
        "seeds=[7]",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train_data: {a: {promt: x, data: x.tar}}", "no key is named 'promt'. Did you mean 'prompt'?"),
        ("train_data: {a: {prompt: x, data: x.tar}}\nmax_step: 3", "'max_step'. Did you mean 'max_steps'?"),
        ("train_dat: [1]", "'train_dat' is no set with data and metric, and there is no train_data. Did you mean '"),
        ("a: {data: {prompt: x, data: x.tar}, metrics: Accuracy}", "no key is named 'metrics'. Did you mean 'metric'?"),
        ("a: {data: {prompt: x, dat: x.tar}, metric: Accuracy}", "no key is named 'dat'. Did you mean 'data'?"),
        ("a: {data: {prompt: x, data: x.tar}, metric: Acuracy}", "FENSE, DATE. Did you mean 'Accuracy'?"),
        ("a: {data: {prompt: x, data: y}, metric: mAP, metric_args: {num_classes: no}}", "num_classes 'no' is no"),
        ("a: {data: {prompt: x, data: x.tar}, metric: mAP, weight: much}", "weight is 'much'; a number, 0 or more"),
        ("train_data: {a: {prompt: x, data: x.tar, prob: -1}}", "prob is -1; a number, 0 or more"),
        ("train_data: {a: {prompt: [], data: x.tar}}", "prompt is []; a text or a list of texts was expected"),
        ("train_data: {a: {prompt: x, data: 3}}", "data is 3; a text or a list of texts was expected"),
        ("train_data: []", "train_data holds list; keys and values were expected"),
        ("[1]", "holds list; keys and values were expected"),
        ("a: {data: {prompt: x, data: x.tar}", "cannot be read as YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_yaml_is_one_line(text, told):
    """With the file, what was found and the nearest name."""
    write_yaml("T.yaml", text)
    with pytest.raises(DataError) as caught:
        load("xares:T.yaml")
    assert told in str(caught.value) and "T.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_yaml_that_is_not_there():
    """One line."""
    with pytest.raises(DataError, match=r"'NO\.yaml' cannot be read as YAML"):
        load("xares:NO.yaml")


# --- mixing


def mixed_file(**probs):
    """Sets a (three shards of one item) and b (one shard of two)."""
    for number in range(3):
        write_shard(Path(f"a-{number}.tar"), samples([{"label": "dog"}], start=number))
    write_shard(Path("b.tar"), samples([{"label": "cat"}, {"label": "cow"}], start=10))
    sets = {"a": {"prompt": "?", "data": "a-{0..2}.tar"}, "b": {"prompt": "?", "data": "b.tar"}}
    return train_file(**{name: {**content, "key": "label", **probs.get(name, {})} for name, content in sets.items()})


@pytest.mark.parametrize(
    ("probs", "expected"),
    [
        ({}, {"a": 0.75, "b": 0.25}),  # three shards of four
        ({"a": {"prob": 0.25}}, {"a": 0.5, "b": 0.5}),  # b keeps its quarter
        ({"a": {"prob": 3}, "b": {"prob": 2}}, {"a": 0.6, "b": 0.4}),
    ],
)
def test_shares_by_hand(probs, expected):
    """prob as given, else the share of the shards; then both add up to one."""
    data = load(mixed_file(**probs))
    assert {one.part: one.part_share for one in data.examples} == pytest.approx(expected)
    mix = mix_of([data.examples])
    assert mix.sets.tolist() == [0, 0, 0, 1, 1]
    assert mix.shares.tolist() == pytest.approx([expected["a"], expected["b"]])


def test_a_set_of_probability_nothing():
    """It is not encoded either, which is said; nothing but such sets is an error."""
    data = load(mixed_file(b={"prob": 0}))
    assert {one.part for one in data.examples} == {"a"}
    assert data.notes == ("b has prob 0 and is not used",)
    with pytest.raises(DataError, match="every prob is 0"):
        load(mixed_file(a={"prob": 0}, b={"prob": 0}))


def test_other_tasks_are_mixed_by_their_examples():
    """A task counts by its examples, whatever its sets share; without shares there is no mixing at all."""
    data = load(mixed_file())
    plain = list(load(eval_file(data="b.tar")).examples) * 5
    mix = mix_of([data.examples, plain])
    assert mix.shares.tolist() == pytest.approx([0.75 / 3, 0.25 / 3, 2 / 3])
    assert mix.sets.tolist() == [0, 0, 0, 1, 1, *[2] * 10]
    assert mix_of([plain]) is None


# --- tokens, loss, positions


def peer_batch():
    """Two items of a shard, 3 and 5 audio tokens, in the peer's form: questions, features, and what the LLM is fed."""
    write_shard(Path("x.tar"), samples([{"label": "dog"}, {"label": "a cat"}]))
    tokenizer = load_tokenizer(find_llm("tiny"), "xares")
    examples = load(eval_file("iWER")).examples
    probe = make_probe()
    probe.llm.tokenizer = tokenizer
    fed = []

    def note(_module, _arguments, given):
        fed.append(given["position_ids"].tolist())

    probe.llm.model.register_forward_pre_hook(note, with_kwargs=True)
    questions = [encode_question(tokenizer, one.prompt, one.references[0]) for one in examples]
    generator = torch.Generator().manual_seed(0)
    return probe, questions, [torch.randn(frames, 5, generator=generator) for frames in (3, 5)], fed


WHICH, DOG, A_CAT, END = list(b"Which?"), list(b"dog"), list(b"a cat"), 256


def test_token_ids_and_the_loss_mask_by_hand():
    """[prompt][answer + end] with nothing between; the loss is on answer and end alone."""
    _, questions, _, _ = peer_batch()
    assert [question.prompt for question in questions] == [tuple(WHICH), tuple(WHICH)]
    assert [question.answer for question in questions] == [(*DOG, END), (*A_CAT, END)]
    batch = collate(questions, "cpu")
    assert batch.text.ids.tolist() == [[0, 0, *WHICH, *DOG], [*WHICH, *A_CAT]]
    assert batch.text.mask.tolist() == [[False] * 2 + [True] * 9, [True] * 11]
    assert batch.targets.tolist() == [[IGNORED, IGNORED, *DOG, END], [*A_CAT, END]]


def test_position_ids_by_hand_and_alike_in_training_and_decoding():
    """Audio, then prompt, then answer, counted without padding, whatever the item is batched with (defect 6)."""
    probe, questions, clips, fed = peer_batch()
    batch = collate(questions, "cpu")
    with torch.no_grad():
        probe(batch.text, probe.context([clips]), logits_to_keep=6)
    short, long = fed.pop()
    assert short[:3] == [0, 1, 2] and short[5 + 2 :] == [*range(3, 12)]  # 5 rows of audio, 2 of them padding; 2 of text
    assert long == [*range(5 + 11)]
    prompts = left_padded([question.prompt for question in questions])
    probe.generate(prompts, probe.context([clips]), max_new_tokens=2)
    assert fed[0][0][:3] == short[:3] and fed[0][0][5:] == short[7:13]
    assert fed[0][1] == long[:11]
    assert fed[1] == [[9], [11]]  # the first token of the answer stands where it stood in training


def test_loss_and_text_of_an_item_do_not_depend_on_its_batch():
    """Alone and padded beside a longer one: the same loss to rounding, the same text (defect 6)."""
    probe, questions, clips, _ = peer_batch()
    probe.double().eval()
    clips = [one.double() for one in clips]

    def loss_and_text(numbers):
        chosen = [questions[number] for number in numbers]
        context = probe.context([[clips[number] for number in numbers]])
        batch = collate(chosen, "cpu")
        with torch.no_grad():
            logits = probe(batch.text, context, logits_to_keep=batch.targets.shape[1])[0]
        target = batch.targets[0]
        logs = logits.log_softmax(-1)[torch.arange(len(target)), target.clamp(min=0)][target != IGNORED]
        prompts = left_padded([question.prompt for question in chosen])
        return float(-logs.mean()), probe.generate(prompts, context, max_new_tokens=4)[0]

    alone, together = loss_and_text([0]), loss_and_text([0, 1])
    assert alone[0] == pytest.approx(together[0], rel=1e-10)
    assert alone[1] == together[1]


# --- the whole way


ANSWERS = {  # what the stubbed LLM writes, by the audio it hears; s0 … s3 of the shard
    "sound": ["Dog.", "cat", "a cow", "well-known bird"],
    "asr": ["the cat sat", "on mat", "", "hello"],
    "tags": ["dog; bark", "dog", "rain", "bark"],
}
TRUE = {
    "sound": ["dog", "cat", ["cow", "a cow"], "well known bird"],
    "asr": ["the cat sat", "on the mat", "yes", "Hello!"],
    "tags": ["dog;bark", "dog", "dog", "bark"],
}
# By hand. sound: of five rows all but (a cow, cow) agree. asr: 2 errors in 8 words. tags: dog has 3 of 4 items, found
# in 2 of them and in no other: 2/3 · 1 + 1/3 · 3/4; bark has 2 of 4, both found: 1; two classes of 10.
DOG_PRECISION = 2 / 3 + 1 / 3 * 3 / 4
SCORES = {
    ("sound", "xares_accuracy"): 4 / 5,
    ("asr", "xares_iwer"): 1 - 2 / 8,
    ("tags", "xares_map"): (DOG_PRECISION + 1) / 10,
    ("tags", "xares_map_of_present_classes"): (DOG_PRECISION + 1) / 2,
    (None, OVERALL): (4 / 5 + 2 * (1 - 2 / 8) + (DOG_PRECISION + 1) / 10) / 4,
    ("sound", "accuracy"): 2 / 4,  # cat, and a cow, which is one of its answers; "Dog." is read strictly
}
METRICS = {
    "sound": ("Accuracy", {}),
    "asr": ("iWER", {"weight": 2}),
    "tags": ("mAP", {"metric_args": {"num_classes": 10}}),
}


def peer_files():
    """Three sets of four clips to be evaluated, and one of eight to train on."""
    evaluated = {}
    for number, (name, answers) in enumerate(TRUE.items()):
        members = samples([{"label": answer} for answer in answers], start=4 * number)
        write_shard(Path(f"{name}.tar.gz"), members)
        metric, more = METRICS[name]
        evaluated[name] = {
            "data": {"prompt": f"{name}?", "data": f"{name}.tar.gz", "key": "label"},
            "metric": metric,
            **more,
        }
    write_shard(Path("train.tar"), samples([{"label": "dog"}, {"label": "cat"}] * 4, start=100))
    train_file(toy={"prompt": "sound?", "data": "train.tar", "key": "label"})
    return write_yaml("EVAL.yaml", evaluated)


def test_the_peers_files_from_shards_to_scores(palprobe, monkeypatch):  # noqa: F811
    """`compare` trains on one file and tests on another; with given answers every score is the one written out here."""
    spec = peer_files()
    written = iter([text for answers in ANSWERS.values() for text in answers])

    def generate(self, text, context, *, max_new_tokens, beams=1, penalty=1.0):
        assert (max_new_tokens, beams, penalty) == (150, 1, 1.05)
        return [list(next(written).encode()) for _ in text.ids]

    monkeypatch.setattr("palprobe.training.probe.Probe.generate", generate)
    words = ["--recipe", "xares-llm", "--tasks", spec, "--set", "train.tasks=[xares:TRAIN.yaml]"]
    words += ["--set", "train.steps=2", "--format", "json", "--out", "out"]
    code, _, err = palprobe("compare", *words)
    assert code == 0, err
    (result,) = [json.loads(path.read_text()) for path in Path("runs").rglob("result.json")]
    found = {(score["part"], score["metric"]): score["score"] for score in result["scores"]}
    assert {key: found[key] for key in SCORES} == pytest.approx(SCORES)
    assert (result["counts"]["used"], result["counts"]["missing"], result["counts"]["dropped"]) == (12, 0, 0)
    assert (result["template"], result["decoding"]) == (
        "xares",
        "greedy, to the first newline, repetition penalty 1.05",
    )
    assert result["identity"]["repetition_penalty"] == 1.05
    assert result["identity"]["xares"]["asr"] == {"xares_metric": "iWER", "xares_weight": "2.0"}
    identity = json.loads(next(Path("runs").glob("*/identity.json")).read_text())
    assert identity["prompt"] == {"template": "xares"}
    assert {key: identity["train"][key] for key in ("schedule", "beta2", "lora_alpha", "lora_dropout")} == {
        "schedule": "linear", "beta2": 0.999, "lora_alpha": 32.0, "lora_dropout": 0.1,
    }  # fmt: skip
    assert OVERALL in Path("out/leaderboard.csv").read_text()
    lines = [json.loads(line) for line in next(Path("runs").rglob("predictions.jsonl")).read_text().splitlines()]
    assert [line["id"] for line in lines][:4] == [f"sound/sound/s{number}" for number in range(4)]
    run = next(Path("runs").glob("*/train.json")).parent
    code, _, err = palprobe("eval", run, "--rescore", "--set", "scoring.parse=contains")
    assert code == 0, err  # theirs are read from the text, whatever parser palprobe's own are read by
    again = json.loads((run / "eval" / "test-generation-contains" / "result.json").read_text())
    there = {(score["part"], score["metric"]): score["score"] for score in again["scores"]}
    theirs = {key: value for key, value in SCORES.items() if key[1].startswith("xares_")}
    assert {key: there[key] for key in theirs} == pytest.approx(theirs)
    assert there["sound", "accuracy"] == 3 / 4  # "Dog." contains dog


def test_what_the_files_and_the_recipe_say_reaches_training(monkeypatch):
    """Steps draw from the sets by their shares, adapters are scaled by 32 / 8 and drop a tenth; shares are identity."""
    seen = []

    def spy(probe, lessons, *arguments, **given):
        seen.append((probe, lessons[0]))
        return {}

    monkeypatch.setattr("palprobe.training.train_cell.train", spy)
    plans = []
    for share in (0.5, 1e-9):
        spec = mixed_file(a={"prob": 1}, b={"prob": share})
        write_shard(Path("x.tar"), samples([{"label": "dog"}, {"label": "cat"}], start=30))
        settings = ["train.tasks=[xares:TRAIN.yaml]", "train.steps=50"]
        recipe = load_recipe(XARES_RECIPE, settings=settings, flags={"tasks": [eval_file()]})
        workspace = Workspace(recipe, Places(), encoders_checked=True)
        for task in recipe.tasks[0], spec:
            extract([parse_encoder("logmel")], workspace.task(task).examples, recipe, Path("features"))
        plans.append(workspace.plan(Cell("logmel", "plits", "tiny", recipe.tasks[0], 42)))
        train_cell(workspace, plans[-1], lambda _: None)
    assert plans[0].run.id != plans[1].run.id
    drawn = [np.unique(np.concatenate(plan_lesson(*one, number=0, seed=42))).tolist() for one in seen]
    assert drawn == [[0, 1, 2, 3, 4], [0, 1, 2]]  # the first three are set a
    adapted = seen[0][0].llm.model.model.layers[0].mlp.up_proj
    assert adapted.scaling["palprobe"] == 4.0
    assert adapted.lora_dropout["palprobe"].p == 0.1


def test_another_metric_is_another_evaluation_of_the_same_run():
    """What answers are judged by is part of the evaluation's identity, and of nothing that is trained."""
    from palprobe.evaluation.xares import judging_fields

    write_shard(Path("x.tar"), samples([{"label": "dog"}]))
    one, other = (load(eval_file(metric)).examples for metric in ("iWER", "iCER"))
    assert judging_fields(one) != judging_fields(other)
    assert judging_fields([]) == {}


def test_silence_of_no_length_is_a_counted_loss(palprobe):  # noqa: F811
    """A clip of zero samples, at which the peer stops, is dropped and counted; the others are scored."""
    members = [*samples([{"label": "dog"}, {"label": "cat"}] * 4), ("z.wav", clip(0)), ("z.json", b'{"label": "dog"}')]
    write_shard(Path("x.tar"), members)
    write_shard(Path("train.tar"), samples([{"label": "dog"}, {"label": "cat"}] * 4, start=100))
    train_file(toy={"prompt": "Which?", "data": "train.tar", "key": "label"})
    words = ["--tasks", eval_file(), "--set", "train.tasks=[xares:TRAIN.yaml]", "--set", "train.steps=2"]
    words += ["--integrations", "plits", *PLAIN, "--set", "data.max_dropped=0.2", "--set", "scoring.method=generation"]
    code, _, err = palprobe("compare", *words)
    assert code == 0, err
    (result,) = [json.loads(path.read_text()) for path in Path("runs").rglob("result.json")]
    assert (result["counts"]["found"], result["counts"]["used"], result["counts"]["dropped"]) == (9, 8, 1)
    assert "zero frames" in err


def test_training_on_what_is_tested_is_refused(refused):  # noqa: F811
    """The same bytes in a training and an evaluation shard: one line, before training."""
    write_shard(Path("x.tar"), samples([{"label": "dog"}, {"label": "cat"}]))
    train_file(toy={"prompt": "Which?", "data": "x.tar", "key": "label"})
    words = ["compare", "--tasks", eval_file(), "--set", "train.tasks=[xares:TRAIN.yaml]"]
    refused(*words, "--set", "scoring.method=generation", code=1, texts=["about audio that the test of"])


def test_validate_shows_prompt_and_notes(palprobe):  # noqa: F811
    """The first prompt in the peer's form, what is left out, and what the training file says beside its data."""
    write_shard(Path("x.tar"), [*samples([{"label": "dog"}, {"label": "cat"}]), ("lone.wav", clip(seed=9))])
    write_shard(Path("t.tar"), samples([{"label": "dog"}], start=20))
    write_yaml("TRAIN.yaml", {"train_data": {"t": {"prompt": "?", "data": "t.tar", "key": "label"}}, "max_steps": 7})
    words = ["validate", "xares-llm", "--set", f"tasks=[{eval_file()}]", "--set", "train.tasks=[xares:TRAIN.yaml]"]
    code, out, err = palprobe(*words)
    assert code == 0, err
    assert "# xares:EVAL.yaml: 0 train, 0 validation, 2 test" in out
    assert "the LLM reads, after the audio: 'Which?'" in out
    assert "# note on xares:EVAL.yaml: toy: 1 left out, no JSON object beside the audio (nothing is)" in out
    assert "# note on xares:TRAIN.yaml: TRAIN.yaml also says, for --set: train.steps=7" in out


def test_the_prompt_has_one_beginning_in_the_peers_form(tmp_path):
    """An LLM whose tokenizer begins texts gets one beginning before the prompt, and none before the answer."""
    from test_chat import CHATML, ids_of, tokenizer_folder

    from palprobe.llm.tokenizer import PretrainedTokenizer, encode_answer

    tokenizer = PretrainedTokenizer(tokenizer_folder(tmp_path, CHATML), "xares")
    assert encode_prompt(tokenizer, "which?") == ids_of("<s>", "which?")
    assert encode_answer(tokenizer, "dog") == ids_of("dog", "</s>")


def test_steps_draw_sets_by_their_shares():
    """Of ten thousand places, a set gets its share within four standard deviations; its items come equally often."""
    from palprobe.training.batches import Mix, plan_steps

    mix = Mix(np.repeat([0, 1], [90, 10]), np.array([0.2, 0.8]))
    lengths = np.ones((100, 2), dtype=int)
    plan = np.concatenate(plan_steps(lengths, batch_size=10, steps=1000, seed=3, mix=mix))
    counts = np.bincount(plan, minlength=100)
    assert abs(counts[:90].sum() - 2000) < 4 * math.sqrt(10_000 * 0.2 * 0.8)
    assert counts[:90].max() - counts[:90].min() <= 1
    assert counts[90:].max() - counts[90:].min() <= 1
    again = np.concatenate(plan_steps(lengths, batch_size=10, steps=1000, seed=3, mix=mix))
    assert np.array_equal(plan, again)
