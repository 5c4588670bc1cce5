"""catalog: every published encoder is registered and found by its name, and its file is checked where it can be."""

import csv
import io
import json
from dataclasses import replace

import pytest

from palprobe.encoders import ENCODERS
from palprobe.encoders.catalog import CATALOG, published, variants_of
from palprobe.encoders.weights import find_file
from palprobe.errors import UsageError, WeightsError
from palprobe.files import sha256_of
from palprobe.report.inventory import encoder_rows, inventory_table, inventory_text
from palprobe.specs import parse_encoder


def test_names_are_registered_and_distinct():
    """No line for an encoder that is not there, none twice, and none that reads back as another."""
    assert {entry.encoder for entry in CATALOG} <= set(ENCODERS.parts)
    assert len({entry.spec for entry in CATALOG}) == len(CATALOG)
    for entry in CATALOG:
        assert published(parse_encoder(entry.spec)) is entry


def test_the_first_variant_is_the_default():
    """`beats` is iter3_plus_AS2M, not fine-tuned; `whisper` is small; an unknown variant names the nearest."""
    assert published(parse_encoder("beats")).variant == "iter3_plus_AS2M"
    assert published(parse_encoder("whisper")).variant == variants_of("whisper")[0] == "small"
    with pytest.raises(UsageError, match=r"no variant 'larg'\. Did you mean 'large'"):
        published(parse_encoder("eat:larg"))


def test_a_download_command_names_the_file_where_there_is_one():
    """One file of torch.save is fetched alone, a Hugging Face folder whole."""
    assert published(parse_encoder("beats")).command == "hf download lpepino/beats_ckpts BEATs_iter3_plus_AS2M.pt"
    assert published(parse_encoder("eat")).command == "hf download worstchan/EAT-base_epoch30_pretrain"


def test_bytes_from_the_hub_are_checked(tmp_path, monkeypatch):
    """With a known sha256 other bytes are refused; a file that a person names is theirs to choose."""
    from palprobe.encoders import weights

    (tmp_path / "BEATs_iter3_plus_AS2M.pt").write_bytes(b"something else")
    monkeypatch.setattr(weights, "snapshot", lambda hub_id, patterns, is_whole: tmp_path)
    entry = published(parse_encoder("beats"))
    with pytest.raises(WeightsError, match="the published file has d43cbfad"):
        find_file(None, entry)
    right = replace(entry, sha256=sha256_of(tmp_path / entry.file))
    assert find_file(None, right) == find_file(str(tmp_path), entry) == tmp_path / entry.file


def test_the_list_of_encoders_has_every_name_in_every_form(monkeypatch):
    """Each registered name has a line; licences from memory say so; absent weights are told from those here."""
    from palprobe.report import inventory

    monkeypatch.setattr(inventory, "is_cached", lambda hub_id, file: hub_id == "openai/whisper-tiny")
    rows = encoder_rows()
    assert {row.encoder.partition(":")[0] for row in rows} == set(ENCODERS.parts)
    by_name = {row.encoder: row for row in rows}
    assert by_name["whisper:tiny"].weights == "here" and by_name["whisper:small"].weights == "absent"
    assert by_name["beats:iter3_plus_AS2M"].licence == "MIT"
    assert by_name["wavlm:large"].licence.endswith("(unverified)")
    assert [line["encoder"] for line in json.loads(inventory_text(rows, "json"))] == [row.encoder for row in rows]
    table = list(csv.DictReader(io.StringIO(inventory_text(rows, "csv"))))
    assert table[0]["encoder"] == rows[0].encoder and len(table) == len(rows)
    assert inventory_text(rows, "markdown").count("\n") == len(rows) + 2
    assert inventory_table(rows, 200).row_count == len(rows)
