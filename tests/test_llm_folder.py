from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_llms import logits_of, saved, small_llm, text_of
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from palprobe.errors import WeightsError
from palprobe.llm import find_llm, load_llm
from palprobe.types import AudioContext

ODD = {
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global"], 2]], "num_heads": 4},
    "recurrent_gemma": {"num_attention_heads": 4, "lru_width": 32, "intermediate_size": 96},
}


# --- LLMs from a folder


def test_an_llm_from_a_folder_is_the_one_that_was_saved(tmp_path):
    """Weights, tokenizer and identity come from the folder, and nothing is random."""
    llm = small_llm("qwen3")
    folder = saved(llm, tmp_path)
    source = find_llm(str(folder))
    loaded = load_llm(source, seed=0)
    text, context = text_of(loaded.tokenizer.encode("a tone")), AudioContext()
    assert text.ids[0].tolist() == list(b"a tone")
    assert np.array_equal(logits_of(loaded, text, context), logits_of(llm, text, context))
    weights = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert source.identity["files"]["model.safetensors"] == weights


@pytest.mark.parametrize("family", ["gpt_neo", "recurrent_gemma", "mamba"])
def test_architectures_that_would_misread_audio_are_refused(family, tmp_path):
    """Attention of its own kind, recurrent layers, no attention at all: refused when loading, not wrong later."""
    config = CONFIG_MAPPING[family](vocab_size=257, hidden_size=32, num_hidden_layers=2, **ODD.get(family, {}))
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(config)
    folder = saved(SimpleNamespace(model=model), tmp_path)
    with pytest.raises(WeightsError, match="cannot show audio to"):
        load_llm(find_llm(str(folder)), seed=0)


def test_missing_weights_are_refused(tmp_path):
    """Weights that the folder lacks would be random: the message counts and names them."""
    folder = saved(small_llm(), tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 weights.*layers\.1\.mlp\.up_proj"):
        load_llm(find_llm(str(folder)), seed=0)
