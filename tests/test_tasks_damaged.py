"""Damaged and hostile tables: whatever a few bytes in them become, a loader reads them or says why not, in one line."""

import random
from pathlib import Path

import pytest
from miniature_tasks import LAYOUTS, load, written

from palprobe.errors import PalprobeError
from palprobe.files import digest

DAMAGE = (b"\xff", b"\x00", b"\n", b'"', b",", b"../", b"/", b"\\ud800", b"\\u0000", b"null", b"{}", b"[]", b"1e999")
DAMAGE += (b"\r", "\u2028".encode(), b"", b"  ", b"_", b"\xed\xa0\x80", b"x" * 5000)
DAMAGED = 60  # copies of each layout's tables


def tables_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix in (".csv", ".json", ".jsonl", ".txt")]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One to three stretches of at most ten bytes replaced."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(changed) + 1)
        changed[start : start + rng.choice([0, 1, 3, 10])] = rng.choice(DAMAGE)
    return bytes(changed)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_damage_is_read_or_refused(name, tmp_path):
    """No traceback, no file from elsewhere, no answer that is blank or of two lines, and names that can be hashed."""
    folder, rng = written(name, tmp_path), random.Random(name)
    tables = tables_of(folder)
    assert tables or name in ("crema-d", "ravdess")  # whose file names say all
    read = 0
    for _ in range(DAMAGED if tables else 0):
        path = rng.choice(tables)
        content = path.read_bytes()
        path.write_bytes(damaged(content, rng))
        try:
            data = load(name, folder)
        except PalprobeError as error:
            assert "\n" not in str(error)
        else:
            read += 1
            for example in data.examples:
                assert example.audio.resolve().is_relative_to(tmp_path)
                texts = (*example.references, *example.choices, example.prompt)
                assert all(text.strip() and "\n" not in text for text in texts)
                digest([example.id, example.group, *texts, dict(example.meta)])
        path.write_bytes(content)
    assert read < DAMAGED or not tables
