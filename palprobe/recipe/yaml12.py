"""YAML 1.2 as recipes and the command line write it: 1e-4 is a number; no, on and off are text."""

from __future__ import annotations

import re
from typing import Any

import yaml

from palprobe.errors import RecipeError


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: 1e-4 is a number; no, on and off are text (labels and language codes)."""


_BOOL, _FLOAT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:float"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
        r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def parse_yaml(text: str, *, where: str) -> Any:
    """YAML 1.2 reading of booleans and floats; one-line errors that name `where`."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader subclass
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or number that there is not, as 2020-13-45
        raise RecipeError(f"{where} is no valid YAML: {' '.join(str(error).split())}") from error
