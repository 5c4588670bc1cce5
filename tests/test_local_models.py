"""A Whisper folder and a Llama folder on disk go through every command: random weights, real shapes and formats."""

from pathlib import Path

import pytest
import torch
from conftest import PLAIN
from test_cli import palprobe, rows_of
from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig, WhisperModel

WHISPER_TINY = {
    "d_model": 384,
    "encoder_layers": 4,
    "decoder_layers": 1,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_ffn_dim": 96,
    "num_mel_bins": 80,
}
LLAMA_135M = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def save_tokenizer(folder: Path) -> None:
    """A byte-level BPE without merges, with a beginning-of-sequence token that it puts before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(whisper, llama): both of the published shapes, with weights from a seed."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    WhisperModel(WhisperConfig(**WHISPER_TINY)).save_pretrained(folder / "whisper")
    LlamaForCausalLM(LlamaConfig(**LLAMA_135M)).save_pretrained(folder / "llama")
    save_tokenizer(folder / "llama")
    return folder / "whisper", folder / "llama"


@pytest.mark.slow
def test_local_whisper_and_llama_go_through_every_command(folders, tones):
    """extract → train → eval, then compare, with LoRA and both integrations; what is there is not done again."""
    whisper, llama = folders
    settings = ["--set", "train.steps=2", "--set", "train.batch_size=2", "--set", "data.limit=3"]
    settings += [*PLAIN, "--set", "data.validation_fraction=0.2"]
    encoder = f"whisper={whisper}"
    palprobe("extract", "--encoder", encoder, "--data", tones, *settings)
    cell = ["--encoder", encoder, "--task", tones, "--llm", llama, "--integration", "lal", "--fold", "0", *settings]
    run = palprobe("train", *cell).stdout.strip()
    row = rows_of(palprobe("eval", run).stdout)[0]
    assert (row["trainable"], row["n"], row["audio_tokens"]) == ("lora", "3", "30.0")  # 0.6 s at 50 Hz
    both = palprobe("compare", "--encoders", encoder, "--tasks", tones, "--llm", llama, "--folds", "0", *settings)
    assert {row["integration"] for row in rows_of(both.stdout)} == {"plits", "lal"}
    assert both.stderr.count("train ") == 1  # the lal cell was there
    shown = palprobe("validate", "--set", f"llm={llama}", "--set", f"tasks=[{tones}]", "--set", "encoders=[logmel]")
    assert "tokens of the prompt: 0 " in shown.stdout  # one beginning-of-sequence token, once
    assert "tokens of the prompt: 0 0 " not in shown.stdout
