"""Chat templates: what the template writes, one beginning of the sequence, and an answer with the turn's end."""

import json
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from palprobe.errors import WeightsError
from palprobe.evaluation.evaluate import evaluate
from palprobe.features.extraction import extract
from palprobe.llm import find_llm, load_tokenizer, template_fields
from palprobe.llm.preview import preview
from palprobe.llm.tokenizer import PretrainedTokenizer, encode_answer, encode_prompt
from palprobe.recipe import load_recipe
from palprobe.runs import Cell, Places
from palprobe.specs import parse_encoder
from palprobe.training.loop import train
from palprobe.training.train_cell import train_cell
from palprobe.training.workspace import Workspace
from palprobe.types import Example

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
IDS = {token: number for number, token in enumerate([*SPECIAL, "\n", *map(chr, range(32, 127))])}
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WITH_BOS = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[U]' + message['content'] }}"
    "{% else %}{{ '[A] ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[A]' }}{% endif %}"
)
OPEN_END = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"
DATED = "{{ strftime_now('%d %B %Y') }}|{% if enable_thinking is false %}no{% endif %}|{{ messages[0]['content'] }}"
ANGRY = "{{ raise_exception('a system turn is needed') }}"


def tokenizer_folder(folder: Path, template: str | None) -> Path:
    """Single characters and five special tokens; `<s>` is put before every text, as Llama's tokenizer does."""
    tokenizer = Tokenizer(models.WordLevel(IDS, unk_token="</s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", additional_special_tokens=SPECIAL[2:]
    )
    made.chat_template = template
    made.save_pretrained(folder)
    return folder


def ids_of(*pieces: str) -> tuple[int, ...]:
    """Special tokens whole, everything else by character."""
    return tuple(IDS[part] for piece in pieces for part in ([piece] if piece in IDS else piece))


@pytest.mark.parametrize(
    ("template", "prompt", "answer"),
    [
        (
            CHATML,
            ("<|im_start|>", "user\nwhich?", "<|im_end|>", "\n", "<|im_start|>", "assistant\n"),
            ("dog", "<|im_end|>"),
        ),
        (WITH_BOS, ("<s>", "[U]which?[A]"), ("dog", "</s>")),
        (OPEN_END, ("which?\n",), ("dog", "</s>")),
        (DATED, ("01 January 2025|no|which?",), ("dog", "</s>")),
    ],
    ids=["chatml", "bos in the template", "no end of turn", "date and thinking"],
)
def test_a_chat_template_is_what_it_writes(tmp_path, template, prompt, answer):
    """One user turn and the assistant's beginning, token for token; the answer ends as a turn does; no second `<s>`."""
    tokenizer = PretrainedTokenizer(tokenizer_folder(tmp_path, template), "chat")
    assert encode_prompt(tokenizer, "which?") == ids_of(*prompt)
    assert encode_answer(tokenizer, "dog") == ids_of(*answer)
    assert tokenizer.decode(ids_of("dog")).replace(" ", "") == "dog"


def test_raw_prompts_have_one_beginning(tmp_path):
    """Raw is the prompt and a newline behind `<s>`, even where the prompt begins with it; the template is idle."""
    tokenizer = PretrainedTokenizer(tokenizer_folder(tmp_path, CHATML))
    assert encode_prompt(tokenizer, "which?") == ids_of("<s>", "which?\n")
    assert encode_prompt(tokenizer, "<s>which?") == ids_of("<s>", "which?\n")
    assert encode_answer(tokenizer, "dog") == ids_of("dog", "</s>")


def test_without_a_usable_template_chat_is_refused(tmp_path):
    """No template, and one that takes no user turn alone: one line with the way out; so has the built-in LLM none."""
    with pytest.raises(WeightsError, match=r"has no chat template. Use --set prompt\.template=raw") as caught:
        PretrainedTokenizer(tokenizer_folder(tmp_path / "none", None), "chat")
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match=r"one user turn \(a system turn is needed\)"):
        PretrainedTokenizer(tokenizer_folder(tmp_path / "angry", ANGRY), "chat")
    with pytest.raises(WeightsError, match="tiny reads bytes and has no chat template"):
        load_tokenizer(find_llm("tiny"), "chat")


def as_llm(folder: Path) -> Path:
    """Enough for `find_llm`; no weights are read here."""
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 1}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_the_preview_shows_what_the_llm_reads(tmp_path):
    """`validate` prints the templated text and its tokens."""
    source = find_llm(str(as_llm(tokenizer_folder(tmp_path, WITH_BOS))))
    example = Example("a", "a", Path("a.wav"), "which?", ("dog",), ("dog", "cat"))
    lines = preview(source, example, "chat")
    assert "the LLM reads, after the audio: '<s>[U]which?[A]'" in lines
    numbers = " ".join(map(str, ids_of("<s>", "[U]which?[A]")))
    assert f"tokens of the prompt: {numbers}" in lines
    assert lines[-1].endswith(" ".join(map(str, ids_of("dog", "</s>"))))


def test_the_template_is_part_of_a_chat_runs_identity_alone(tmp_path):
    """Raw runs are told apart from nothing; another chat template is another run."""
    sources = [
        find_llm(str(as_llm(tokenizer_folder(tmp_path / name, template))))
        for name, template in (("one", CHATML), ("two", WITH_BOS))
    ]
    assert [template_fields(source, "raw") for source in sources] == [{}, {}]
    one, two = (template_fields(source, "chat") for source in sources)
    assert one["prompt"]["template"] == "chat"
    assert one != two


def test_a_chat_llm_is_trained_and_scored_in_its_template(tones, tmp_path, monkeypatch):
    """Training reads the templated prompt, answers end with the turn, and run and result say so."""
    config = LlamaConfig(
        vocab_size=len(IDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tokenizer_folder(tmp_path / "chatty", CHATML))
    settings = ["prompt.template=chat", "train.steps=1", "train.batch_size=2", "train.trainable=connector"]
    settings += ["scoring.method=generation", "scoring.beams=2", "scoring.max_new_tokens=3"]
    recipe = load_recipe(settings=settings, flags={"tasks": [str(tones)], "llm": str(tmp_path / "chatty")})
    workspace = Workspace(recipe, Places())
    extract([parse_encoder("logmel")], workspace.task(str(tones)).examples, recipe, Path("features"))
    seen = []

    def spy(probe, lessons, *args, **kwargs):
        seen.extend(question for lesson in lessons for question in lesson.data.questions)
        return train(probe, lessons, *args, **kwargs)

    monkeypatch.setattr("palprobe.training.train_cell.train", spy)
    plan = workspace.plan(Cell("logmel", "lal", recipe.llm, str(tones), 0, 0))
    train_cell(workspace, plan, lambda _: None)
    assert seen[0].prompt[: len(ids_of("<|im_start|>", "user\n"))] == ids_of("<|im_start|>", "user\n")
    assert seen[0].answer[-1] == IDS["<|im_end|>"]
    assert plan.run.identity["prompt"]["template"] == "chat"
    result = json.loads((evaluate(workspace, plan, "validation", recipe.scoring) / "result.json").read_text())
    assert (result["template"], result["identity"]["beams"]) == ("chat", 2)
