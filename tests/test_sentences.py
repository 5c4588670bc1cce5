"""Embeddings and BERTScore against plain numpy on a tiny random BERT; folders that are no encoder are refused."""

import json
import shutil

import numpy as np
import pytest
from tiny_encoder import bertscore_by_hand, embedding_by_hand, write_encoder

from palprobe.errors import WeightsError
from palprobe.llm.sentence_folder import check_folder, folder_digest
from palprobe.llm.sentences import TextEncoder, bertscore_f1

TEXTS = ["low", "", "a high tone", "middle", "l"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_embeddings_are_means_over_tokens(folder, monkeypatch):
    """Padding of a batch has no part in it, whatever its size; an empty text is its two tokens around nothing."""
    expected = [embedding_by_hand(folder, text) for text in TEXTS]
    np.testing.assert_allclose(TextEncoder(folder).embed(TEXTS).numpy(), expected, atol=1e-6)
    monkeypatch.setattr("palprobe.llm.sentences.BATCH", 2)
    np.testing.assert_allclose(TextEncoder(folder).embed(TEXTS).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("layer", [None, 0, 1])
def test_bertscore_is_that_of_loops_over_tokens(folder, layer):
    """Every pair of texts, the empty one too, at each layer."""
    found = TextEncoder(folder, layer=layer).tokens(TEXTS)
    for answer, mine in zip(TEXTS, found, strict=True):
        for reference, theirs in zip(TEXTS, found, strict=True):
            expected = bertscore_by_hand(folder, answer, reference, -1 if layer is None else layer)
            assert bertscore_f1(mine, theirs) == pytest.approx(expected, abs=1e-6)


def test_a_text_is_all_like_itself(folder):
    """Its BERTScore is 1, and another's is less."""
    same, other = TextEncoder(folder).tokens(["a dog", "rain"])
    assert bertscore_f1(same, same) == pytest.approx(1, abs=1e-6) and bertscore_f1(same, other) < 0.999


def test_only_so_much_of_a_text_is_read(folder):
    """What is after 128 tokens, two of them around it, changes nothing."""
    one, other = TextEncoder(folder).embed(["a" * 126 + "b", "a" * 126 + "cde"])
    assert float(one @ other) == pytest.approx(1, abs=1e-6)


def test_folders_that_lack_something(folder, copied, tmp_path):
    """No folder, no tokenizer, no safetensors: the recipe's key and what is needed stand in the line."""
    check_folder("scoring.embedder", folder, pooled=True)
    for absent in ("config.json", "tokenizer.json", "model.safetensors"):
        torn = shutil.copytree(copied, tmp_path / absent.split(".")[0])
        (torn / absent).unlink()
        with pytest.raises(WeightsError, match=r"scoring\.x: .* it needs config\.json, a tokenizer"):
            check_folder("scoring.x", torn, pooled=False)
    with pytest.raises(WeightsError, match="is no folder of a text encoder"):
        check_folder("scoring.x", tmp_path / "nowhere", pooled=False)


@pytest.mark.parametrize(
    "content",
    [
        {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
        {"pooling_mode_mean_tokens": False},
        {"pooling_mode": "cls"},
        [],
    ],
)
def test_other_poolings_are_refused(copied, content):
    """An embedding that is no mean over tokens would be another one; a model without pooling is none for BERTScore."""
    (copied / "1_Pooling" / "config.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match="otherwise than by the mean"):
        check_folder("scoring.embedder", copied, pooled=True)
    check_folder("scoring.bertscore_model", copied, pooled=False)


def test_further_modules_are_refused(copied):
    """A layer after pooling is in published embeddings and would be missing here; scaling to length one is in both."""
    for last, fits in (("Normalize", True), ("Dense", False)):
        modules = [f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", last)]
        (copied / "modules.json").write_text(json.dumps([{"type": name} for name in modules]))
        if fits:
            check_folder("scoring.embedder", copied, pooled=True)
        else:
            with pytest.raises(WeightsError, match="otherwise than by the mean"):
                check_folder("scoring.embedder", copied, pooled=True)


def test_the_digest_is_of_what_decides(folder, copied):
    """A copy has the same digest, a card changes nothing, another configuration does; an index of hashes none."""
    first, index = folder_digest(folder), copied.parent / "index.jsonl"
    assert folder_digest(copied) == first == folder_digest(copied, index) == folder_digest(copied, index)
    (copied / "README.md").write_text("A card.")
    assert folder_digest(copied) == first
    (copied / "1_Pooling" / "config.json").write_text("{}")
    assert folder_digest(copied, index) == folder_digest(copied) != first


def test_models_that_cannot_be_used(copied):
    """A missing weight, a layer that is not there, a configuration of nothing: one line each."""
    from safetensors.torch import load_file, save_file

    with pytest.raises(WeightsError, match="has 2 layers, and no layer 3"):
        TextEncoder(copied, layer=3)
    state = load_file(copied / "model.safetensors")
    for name in [name for name in state if name.startswith("pooler.")]:
        state.pop(name)
    save_file(state, copied / "model.safetensors", metadata={"format": "pt"})
    TextEncoder(copied)  # a head that nobody reads
    state.pop("encoder.layer.1.output.dense.weight")
    save_file(state, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="lacks 1 weights"):
        TextEncoder(copied)
    (copied / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="cannot be loaded as an encoder of texts"):
        TextEncoder(copied)
