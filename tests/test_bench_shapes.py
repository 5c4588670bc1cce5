import json

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from palprobe.bench.shapes import CONFIGS, FAMILIES, find_shape
from palprobe.errors import UsageError
from palprobe.llm.untrained import build_untrained

PARAMETERS = {  # as published with the weights
    "SmolLM2-135M": 134_515_008,
    "SmolLM2-360M": 361_821_120,
    "Qwen2-0.5B": 494_032_768,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824,
}
SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": 0,
    "tie_word_embeddings": True,
}


def empty_model(config):
    """The decoder without memory for its weights."""
    sizes = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(CONFIG_MAPPING[config["model_type"]](**sizes))


@pytest.mark.parametrize("name", PARAMETERS)
def test_shapes_have_the_published_number_of_parameters(name):
    """Hidden size, layers, heads, feed-forward and vocabulary are right, or the numbers would not meet."""
    model = empty_model(CONFIGS[name])
    assert sum({id(p): p.numel() for p in model.parameters()}.values()) == PARAMETERS[name]
    assert CONFIGS.keys() == PARAMETERS.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_has_the_counted_weights(family, tmp_path):
    """The matrices of one layer of every known family, and among them those of keys and values."""
    (tmp_path / "config.json").write_text(json.dumps(SMALL | {"model_type": family}))
    shape = find_shape(str(tmp_path))
    first = next(module for module in empty_model(shape.config).modules() if isinstance(module, torch.nn.ModuleList))[0]
    weights = {name: p.numel() for name, p in first.named_parameters() if p.ndim == 2}
    assert sum(weights.values()) == shape.layer_weights
    separate = sum(count for name, count in weights.items() if "k_proj" in name or "v_proj" in name)
    assert separate == shape.key_value_weights or family == "phi3"  # where they are one with the queries


def test_tiny_is_the_built_in_llm():
    """Its numbers are those of the model that palprobe trains."""
    from palprobe.llm import find_llm, load_llm

    model = load_llm(find_llm("tiny"), seed=0).model
    built = build_untrained(find_shape("tiny").config).model
    assert [p.shape for p in built.parameters()] == [p.shape for p in model.parameters()]


def test_untrained_weights_are_finite_shared_and_never_end():
    """Logits are numbers, head and embeddings are one tensor where the configuration says so, decoding goes on."""
    from palprobe.llm.model import left_padded
    from palprobe.types import AudioContext

    llm = build_untrained(SMALL | {"model_type": "qwen2"})
    assert llm.model.get_output_embeddings().weight is llm.model.get_input_embeddings().weight
    text = left_padded([[1, 2, 3]])
    assert torch.isfinite(llm(text, AudioContext())).all()
    assert len(llm.generate(text, AudioContext(), max_new_tokens=30)[0]) == 30


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SmolLM2-135", r"no folder, and no shape of that name\. Did you mean 'SmolLM2-135M'\?.*Llama-3\.2-3B, tiny"),
        ("nothing", r"Known: SmolLM2-135M"),
    ],
)
def test_unknown_shapes_are_refused(name, message):
    """With the nearest name, where one is near."""
    with pytest.raises(UsageError, match=message):
        find_shape(name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "has no config.json"),
        ({"model_type": "gpt_neox"} | SMALL, r"'gpt_neox' is none whose cost is known: gemma,"),
        ({"model_type": "llama"}, "num_attention_heads in its config.json is None"),
        ({"model_type": "llama"} | SMALL | {"hidden_size": -1}, "hidden_size in its config.json is -1"),
        ([], "model_type None"),
    ],
)
def test_folders_that_say_too_little_are_refused(config, message, tmp_path):
    """The folder and what is missing are named."""
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=message) as caught:
        find_shape(str(tmp_path))
    assert str(tmp_path) in str(caught.value)
