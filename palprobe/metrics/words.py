"""How every metric of texts reads them: lower-case words, without what is written but not said."""

from __future__ import annotations

import unicodedata

NORMALISER = "words: lower case, punctuation and symbols off, apostrophes kept inside words"  # what `words_of` does


def words_of(text: str) -> list[str]:
    """Lower-case words of letters, marks and digits, with the apostrophes inside them: "He's, um, 30!" → he's um 30."""
    plain = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    kept = "".join(letter if letter == "'" or unicodedata.category(letter)[0] in "LMN" else " " for letter in plain)
    return [word for word in (part.strip("'") for part in kept.split()) if word]
