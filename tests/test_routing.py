"""Which integration each encoder takes, and what asking for it by another name leads to."""

import subprocess
import sys

import pytest

from palprobe.errors import RecipeError, UnknownNameError
from palprobe.integrations import identity_fields, resolve_section
from palprobe.integrations.routing import check_integration, check_route, choose
from palprobe.recipe import IntegrationSection

SECTION = IntegrationSection()
BOTH = {"whisper": "speech", "beats": "general"}


@pytest.mark.parametrize(
    ("encoders", "section", "expected"),
    [
        ({"whisper": "speech"}, SECTION, ("plits", ["plits"])),
        ({"beats": "general"}, SECTION, ("lal", ["lal"])),
        (BOTH, SECTION, ("pal", ["plits", "lal"])),
        ({"beats": "general", "eat": "general"}, SECTION, ("lal", ["lal", "lal"])),
        (BOTH, IntegrationSection(route={"whisper": "lal"}), ("lal", ["lal", "lal"])),
        (BOTH, IntegrationSection(route={"speech": "lal", "general": "plits"}), ("pal", ["lal", "plits"])),
        (BOTH, IntegrationSection(route={"speech": "lal", "whisper": "plits"}), ("pal", ["plits", "lal"])),
    ],
)
def test_pal_routes_by_kind_and_the_recipe_overrides(encoders, section, expected):
    """Speech goes through plits and the rest through lal; an encoder's own route is before that of its kind."""
    chosen = choose("pal", section, encoders)
    assert (chosen.name, [choice.name for choice in chosen.choices]) == expected


@pytest.mark.parametrize(("kind", "name"), [("speech", "plits"), ("general", "lal")])
def test_pal_of_one_encoder_is_that_cell(kind, name):
    """The identity, options included, is that of plits or lal asked for by name; the table says so."""
    section = IntegrationSection(layers="from:1", pool="time:2")
    chosen = choose("pal@v2", section, {"x": kind})
    assert chosen.identity == identity_fields(name, resolve_section(name, section))
    assert chosen.identity == choose(name, section, {"x": kind}).identity
    assert chosen.shown("pal@v2") == f"pal (= {name})"
    assert choose(name, section, {"x": kind}).shown(name) == name
    assert choose("pal", section, BOTH).shown("pal") == "pal"
    assert choose("pal-summary", section, {"x": kind}).shown("pal-summary") == "pal@v3"


def test_a_connector_counts_where_it_is_known():
    """One key serves both routes: per_layer is lal's, and plits beside it keeps its own first."""
    chosen = choose("pal", IntegrationSection(connector="per_layer", rank=4), BOTH)
    assert [choice.section.connector for choice in chosen.choices] == ["mlp", "per_layer"]
    assert [choice.section.rank for choice in chosen.choices] == [IntegrationSection().rank, 4]


def test_the_first_version_leaves_out_four_layers():
    """pal@v1 is lal from layer 4 on unless the recipe names other layers."""
    assert choose("pal@v1", SECTION, {"x": "general"}).choices[0].section.layers == "from:4"
    asked = IntegrationSection(layers="from:1")
    assert choose("pal@v1", asked, {"x": "general"}).choices[0].section.layers == "from:1"


def test_several_encoders_have_an_identity_each():
    """The order of the encoders and the route of each are in it; what only another integration reads is not."""
    there, back = choose("pal", SECTION, BOTH), choose("pal", SECTION, dict(reversed(BOTH.items())))
    assert there.identity == list(reversed(back.identity))
    assert [fields["name"] for fields in there.identity] == ["plits", "lal"]
    assert "route" not in str(there.identity)


def test_what_is_not_there_is_refused():
    """An unknown integration, a connector of neither route, and a route of nobody: each with what is known."""
    with pytest.raises(UnknownNameError, match="Did you mean 'pal@v"):
        check_integration("pal@v4", SECTION)
    with pytest.raises(RecipeError, match="pal has mlp, linear, qformer, shared, per_layer"):
        check_integration("pal", IntegrationSection(connector="perlayer"))
    with pytest.raises(RecipeError, match=r"no kind and no encoder here\. Did you mean 'whisper'"):
        check_route(IntegrationSection(route={"wisper": "lal"}), ["whisper", "beats"])
    check_route(IntegrationSection(route={"whisper": "lal", "general": "lal"}), ["whisper", "beats"])


def test_routing_imports_no_torch():
    """A recipe is checked, and cells are named, without the weight of torch."""
    code = "import sys, palprobe.integrations.routing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
