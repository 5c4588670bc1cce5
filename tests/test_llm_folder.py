import json
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_llms import FAMILIES, HIDDEN, LAYERS, logits_of, random_audio, saved, shown, small_llm, text_of
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration

from palprobe.errors import PalprobeError, WeightsError
from palprobe.llm import find_llm, load_llm
from palprobe.llm.families import REFUSED
from palprobe.llm.masks import Windows, find_windows
from palprobe.types import AudioContext

ODD = {
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global"], 2]], "num_heads": 4},
    "recurrent_gemma": {"num_attention_heads": 4, "lru_width": 32, "intermediate_size": 96},
}
TOWER = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
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


@pytest.mark.parametrize("family", FAMILIES)
def test_every_served_family_loads_and_hears(family, tmp_path):
    """From a folder, as from the hub: it passes the checks, and audio in any layer changes its logits."""
    llm = small_llm(family)
    loaded = load_llm(find_llm(str(saved(llm, tmp_path))), seed=0)
    text = text_of("a tone")
    silent = logits_of(loaded, text, AudioContext())
    assert np.array_equal(silent, logits_of(llm, text, AudioContext()))
    for layer in range(LAYERS):
        heard = logits_of(loaded, text, float_context(shown("lal", [random_audio(4, HIDDEN)], layers=(layer,))))
        assert np.abs(heard - silent).max() > 1e-4


def float_context(context: AudioContext) -> AudioContext:
    memory = {layer: rows.float() for layer, rows in context.memory.items()}
    return AudioContext(memory=memory, memory_mask=context.memory_mask)


def test_the_text_part_of_a_model_that_sees_is_taken(tmp_path):
    """Gemma 3 with a vision tower is its text network and head, and nothing of the tower is kept."""
    llm = small_llm("gemma3_text")
    llm.model.float()
    text = llm.model.config.to_dict()
    seeing = Gemma3Config(text_config=text, vision_config=TOWER, mm_tokens_per_image=4, image_token_index=3)
    with torch.random.fork_rng(devices=[]):
        model = Gemma3ForConditionalGeneration(seeing)
    model.model.language_model.load_state_dict(llm.model.model.state_dict())
    model.lm_head.load_state_dict(llm.model.lm_head.state_dict())
    loaded = load_llm(find_llm(str(saved(SimpleNamespace(model=model), tmp_path))), seed=0)
    context = float_context(shown("lal", [random_audio(4, HIDDEN)]))
    assert np.array_equal(logits_of(loaded, text_of("beep"), context), logits_of(llm, text_of("beep"), context))
    assert not any("vision" in name for name, _ in loaded.named_parameters())


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_families_that_cannot_be_served_are_refused_by_name(family, tmp_path):
    """Before any weights are read, in one line with the family and the reason."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError) as caught:
        find_llm(str(tmp_path))
    assert f"holds {family}, an architecture that palprobe cannot show audio to ({REFUSED[family]})" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["gpt_neo", "recurrent_gemma", "mamba"])
def test_architectures_that_would_misread_audio_are_refused(family, tmp_path, monkeypatch):
    """Families that nobody listed are tried: attention of its own kind, recurrent layers, no attention at all."""
    monkeypatch.delitem(REFUSED, family)
    config = CONFIG_MAPPING[family](vocab_size=257, hidden_size=32, num_hidden_layers=2, **ODD.get(family, {}))
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(config)
    folder = saved(SimpleNamespace(model=model), tmp_path)
    with pytest.raises(WeightsError, match=f"holds {family}, an architecture that palprobe cannot show audio to"):
        load_llm(find_llm(str(folder)), seed=0)


def test_kinds_of_layers_without_a_mask_are_refused():
    """Layers in chunks, or of a kind that is not known, are named; windows are told from the config."""
    for config, found in (
        ({"layer_types": ["full_attention", "chunked_attention"]}, "layers of the kind chunked_attention"),
        ({"attention_chunk_size": 8}, "attention in chunks"),
    ):
        with pytest.raises(PalprobeError, match=found):
            find_windows(SimpleNamespace(**config))
    assert find_windows(SimpleNamespace(sliding_window=8)) == Windows(8)
    mixed = ["full_attention", "sliding_attention"]
    assert find_windows(SimpleNamespace(sliding_window=8, layer_types=mixed)) == Windows(8, mixed=True)
    assert find_windows(SimpleNamespace(sliding_window=8, layer_types=mixed[:1])) == Windows(None)
    assert find_windows(SimpleNamespace()) == Windows(None)


def test_missing_weights_are_refused(tmp_path):
    """Weights that the folder lacks would be random: the message counts and names them."""
    folder = saved(small_llm(), tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 weights.*layers\.1\.mlp\.up_proj"):
        load_llm(find_llm(str(folder)), seed=0)
