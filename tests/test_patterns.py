"""Patterns of shard names: braces and wildcards as a shell has them, and where a file that is not here comes from."""

from pathlib import Path

import pytest

from palprobe.errors import DataError
from palprobe.tasks.patterns import expand_braces, find_shards, places


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("a_{08..11}.tar", ["a_08.tar", "a_09.tar", "a_10.tar", "a_11.tar"]),
        ("a_{9..11}.tar", ["a_9.tar", "a_10.tar", "a_11.tar"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("x{,.gz}", ["x", "x.gz"]),
        ("x{y}", ["x{y}"]),
    ],
)
def test_braces_as_in_a_shell(pattern, expected):
    """What bash prints for the same pattern."""
    assert expand_braces(pattern) == expected


def test_a_pattern_of_everything_is_refused():
    """Nobody means a hundred million shards."""
    for pattern in ("{0..99999999}", "{0..999}{0..999}"):
        with pytest.raises(DataError, match="names more than 100000 shards"):
            expand_braces(pattern)


def find(patterns, repo=None, yaml="y/t.yaml"):
    return find_shards(patterns, places(Path(yaml)), repo=repo, where="'t.yaml', 'esc'")


def test_files_are_found_where_they_are(monkeypatch):
    """Beside the YAML first, then in the working directory, then in the data home; an address by its file name."""
    home = Path("home/deep")
    for path in (Path("y/a.tar"), Path("a.tar"), Path("b.tar"), home / "c_0.tar", home / "c_1.tar", home / "e/d.tar"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.setenv("XARES_DATA_HOME", str(home))
    here, home = Path.cwd(), home.absolute()
    assert find(["a.tar", "{a,b}.tar"]) == [here / "y/a.tar", here / "b.tar"]
    assert find(["c_*.tar"]) == [home / "c_0.tar", home / "c_1.tar"]
    assert find(["https://x.org/d/c_0.tar?download=true", str(here / "b.tar")]) == [home / "c_0.tar", here / "b.tar"]
    assert find(["e/d.tar", "far/away/c_1.tar"], repo="org/set") == [home / "e/d.tar", home / "c_1.tar"]
    monkeypatch.setenv("HOME", str(home))
    assert find(["~/c_0.tar"]) == [home / "c_0.tar"]


@pytest.mark.parametrize(
    ("pattern", "repo", "told"),
    [
        ("a_{0..2}.tar", None, ("no file 'a_0.tar' and 2 more (looked in ", "Mend the path")),
        ("*.tar", None, ("no file '*.tar' (looked in ",)),
        ("https://x.org/a.tar", None, ("It comes from https://x.org/a.tar: fetch it", "XARES_DATA_HOME")),
        ("d/a.tar", "org/set", ("`hf download org/set d/a.tar --repo-type dataset --local-dir FOLDER`",)),
    ],
)
def test_what_is_not_here_is_named_with_where_it_comes_from(pattern, repo, told):
    """One line; nothing is downloaded."""
    with pytest.raises(DataError, match="palprobe downloads no data by itself") as caught:
        find([pattern], repo)
    assert all(text in str(caught.value) for text in (*told, "'t.yaml', 'esc'"))
    assert "\n" not in str(caught.value)
