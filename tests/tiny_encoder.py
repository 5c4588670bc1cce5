"""Folders of tiny encoders with random weights, a token a character, and what plain numpy makes of their states."""

import json

import numpy as np
import torch

START, END = 1, 2  # tokens around a text


def write_encoder(folder, seed=0):
    """A sentence-transformers folder: BERT of random weights and mean pooling."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {"[PAD]": 0, "[CLS]": START, "[SEP]": END} | {chr(code): code for code in range(32, 127)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", START), ("[SEP]", END)]
    )
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    made.save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    BertModel(BertConfig(vocab_size=128, max_position_embeddings=160, **sizes)).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    modules = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"]
    (folder / "modules.json").write_text(json.dumps([{"type": name} for name in modules]))
    return folder


def states_by_hand(folder, text, layer=-1):
    """(tokens, 16) of a text alone and unpadded, those around it too."""
    from transformers import BertModel

    model = BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        ids = torch.tensor([[START, *map(ord, text), END]])
        return model(ids, output_hidden_states=True).hidden_states[layer][0].numpy().astype(np.float64)


def embedding_by_hand(folder, text):
    """The mean over all tokens, at length one."""
    mean = states_by_hand(folder, text).mean(0)
    return mean / np.linalg.norm(mean)


def bertscore_by_hand(folder, answer, reference, layer=-1):
    """F1 by loops over pairs of tokens: those around a text can be matched, and are not averaged over."""
    if not answer or not reference:
        return 0.0
    mine, theirs = states_by_hand(folder, answer, layer), states_by_hand(folder, reference, layer)

    def cosine(one, other):
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    precision = np.mean([max(cosine(one, other) for other in theirs) for one in mine[1:-1]])
    recall = np.mean([max(cosine(one, other) for one in mine) for other in theirs[1:-1]])
    return 2 * precision * recall / (precision + recall)
