"""Small random decoders of several families in float64, so that rounding hides nothing; no weights are needed."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, DynamicCache

from palprobe.llm.attention import ATTENTION, as_argument
from palprobe.llm.families import SERVED
from palprobe.llm.memory import find_layers
from palprobe.llm.model import LanguageModel, TextBatch
from palprobe.llm.tokenizer import ByteTokenizer
from palprobe.types import AudioContext

SIZES = {
    "vocab_size": ByteTokenizer.vocabulary_size,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,  # so that query heads share keys and values
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "pad_token_id": None,
    "eos_token_id": ByteTokenizer.eos,
}
HIDDEN, LAYERS = SIZES["hidden_size"], SIZES["num_hidden_layers"]
PROMPT = "which tone?"
CLOSE = 1e-10  # float64 in another order of additions
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
WINDOWED = {"head_dim": 8, "sliding_window": 64, "layer_types": MIXED}
OWN = {
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": None},
    "phi3": {"sliding_window": None},
    "gpt_neox": {"num_key_value_heads": 4},  # it knows no sharing
    "gemma2": WINDOWED,
    "gemma3_text": WINDOWED,
    "cohere2": WINDOWED,
    "olmo3": WINDOWED,
    "smollm3": {"no_rope_layer_interval": 2},  # the layer in the middle has no rotation
    "granite": {
        "embedding_multiplier": 2.0,
        "attention_multiplier": 0.5,
        "residual_multiplier": 0.7,
        "logits_scaling": 3.0,
    },
}
FAMILIES = tuple(family for family in SERVED if family != "gemma3")  # that one is gemma3_text inside another model
# What gives a family a sliding window beside `sliding_window`, in all of its layers or in some.
SLIDING: dict[str, dict[str, Any]] = {
    "mistral": {},
    "phi3": {},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "max_window_layers": 1},
    "smollm3": {"use_sliding_window": True},
    "gemma2": {},
    "gemma3_text": {},
    "cohere2": {},
    "olmo3": {},
}


def small_llm(family: str = "llama", *, seed: int = 0, **changes: Any) -> LanguageModel:
    """Every parameter is random, norms and biases too: a forgotten one changes the output."""
    config = CONFIG_MAPPING[family](**(SIZES | OWN.get(family, {}) | changes))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION).double().eval()
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return LanguageModel(model, ByteTokenizer())


def windowed_llm(family: str, size: int, **changes: Any) -> LanguageModel:
    """With that window where the family knows any."""
    window = SLIDING[family] | {"sliding_window": size} if family in SLIDING else {}
    return small_llm(family, **(window | changes))


def random_audio(*shape: int, seed: int = 1) -> torch.Tensor:
    """Float64 audio tokens at about the scale of the embeddings."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.3


def text_of(*rows: str | list[int], pad: str = "left") -> TextBatch:
    """Rows of bytes, padded on the named side with an arbitrary token that must not matter."""
    ids = [list(row.encode()) if isinstance(row, str) else row for row in rows]
    length = max(map(len, ids))
    fill = [[7] * (length - len(row)) for row in ids]
    pairs = list(zip(fill, ids, strict=True))
    padded = [gap + row if pad == "left" else row + gap for gap, row in pairs]
    real = [[False] * len(gap) + [True] * len(row) for gap, row in pairs]
    if pad == "right":
        real = [row[::-1] for row in real]
    return TextBatch(torch.tensor(padded), torch.tensor(real))


def shown(how: str, clips: list[torch.Tensor], *, layers: tuple[int, ...] = (0, 1, 2), **options: Any) -> AudioContext:
    """(N_i, H) audio tokens as a `plits` prefix or a `lal` memory; padded on the right, or as `pad` says."""
    pad = options.pop("pad", "right")
    length = max(map(len, clips))
    rows = torch.full((len(clips), length, clips[0].shape[1]), 9.0, dtype=torch.float64)  # padding must not matter
    mask = torch.zeros(len(clips), length, dtype=torch.bool)
    for index, clip in enumerate(clips):
        place = slice(length - len(clip), None) if pad == "left" else slice(len(clip))
        rows[index, place], mask[index, place] = clip, True
    if how == "plits":
        return AudioContext(prefix=rows, prefix_mask=mask)
    return AudioContext(memory=dict.fromkeys(layers, rows), memory_mask=mask, **options)


def logits_of(llm: LanguageModel, text: TextBatch, context: AudioContext) -> np.ndarray:
    with torch.no_grad():
        return llm(text, context).numpy()


def assert_close(found, expected, tolerance: float = CLOSE) -> None:
    """Equal to within `tolerance` of the largest entry."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def saved(llm: LanguageModel, folder: Path) -> Path:
    """The model as a hub repository would hold it, with a tokenizer of single characters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<end>": 0} | {chr(code): code for code in range(32, 127)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    llm.model.float().save_pretrained(folder)
    return folder


def stored(decoder: Any, memory: dict[int, torch.Tensor], positions: torch.Tensor) -> DynamicCache:
    """What a real run stores in the cache when every layer's input is replaced by that layer's audio."""
    cache, handles = DynamicCache(), []
    for index, layer in enumerate(find_layers(decoder, LAYERS)):

        def replace(_, arguments, index=index):
            return (memory[index], *arguments[1:])

        handles.append(layer.register_forward_pre_hook(replace))
    decoder(inputs_embeds=memory[0], position_ids=positions, use_cache=True, **as_argument(decoder, cache))
    for handle in handles:
        handle.remove()
    return cache


def eager(llm: LanguageModel) -> Any:
    """The same model with transformers' own attention, which palprobe has no part in."""
    model = copy.deepcopy(llm.model)
    model.set_attn_implementation("eager")
    return model
