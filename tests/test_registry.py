"""Names of parts: found, or missed with the nearest one named."""

import pytest

from palprobe.errors import UnknownNameError
from palprobe.registry import Part, Registry, near_miss

SHELVES = Registry("shelf", {"joiner": Part("os.path:join", "joins"), "splitter": Part("os.path:split", "splits")})


def test_load_imports_the_named_attribute():
    """A name leads to the very object that its target names."""
    import os.path

    assert SHELVES.load("joiner") is os.path.join


def test_unknown_name_gives_the_nearest_and_all():
    """A typing error is answered with the name that was meant and the list of names."""
    with pytest.raises(UnknownNameError) as error:
        SHELVES.check("spliter")
    assert str(error.value) == "No shelf is named 'spliter'. Did you mean 'splitter'? Known: joiner, splitter."


def test_near_miss_of_nothing_alike_is_empty():
    """No suggestion is better than a wild one."""
    assert near_miss("xyz", ["joiner", "splitter"]) == ""
