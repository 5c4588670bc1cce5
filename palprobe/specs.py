"""The grammar of encoders and tasks as they are named on the command line and in recipes; looks at no disk."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace

from palprobe.errors import UsageError

MANIFEST_SUFFIXES = (".csv", ".jsonl")
XARES, YAML_SUFFIXES = "xares:", (".yaml", ".yml")  # of a task; an encoder of that prefix is a .py file
FOREIGN = ("xares", "hear", "s3prl")  # interfaces of other people's encoder classes
LAYER = re.compile(r"last|\d+|all|weighted|mean:\d+-\d+")
UNTRAINED = re.compile(r"random(\d*):")
LARGEST_SEED = (1 << 63) - 1  # that numpy and torch take
SPEC_BEGINS = re.compile(
    r"(random\d*:)?\w[\w.-]*($|[:=@])|.*\.py(:|$)"
)  # what a "+" before it joins; else it is in a path


@dataclass(frozen=True)
class EncoderSpec:
    """`[random[N]:]NAME[:VARIANT][=PATH][@LAYER]`, taken apart."""

    text: str  # as written: how it is called in tables
    name: str  # a registered name, or "file" for path/to/file.py:Class
    variant: str | None = None  # of somebody's class: its name; of hf: ORG/REPO
    path: str | None = None  # of somebody's class: its file, or a module
    layer: str = "last"
    untrained: bool = False
    arguments: str | None = None  # what somebody's class is to load, after the "=": xares, hear, s3prl
    init_seed: int | None = None  # N of randomN: its own seed of untrained weights; None: that of the recipe

    def at(self, layer: int) -> EncoderSpec:
        """The same encoder at one layer."""
        return replace(self, text=f"{self.base}@{layer}", layer=str(layer))

    @property
    def base(self) -> str:
        """The spec as written, without its layer."""
        return self.text.strip().removesuffix(f"@{self.layer}")

    @property
    def whole(self) -> EncoderSpec:
        """The same encoder, whatever its layer."""
        return replace(self, text="", layer="last")

    @property
    def runs_user_code(self) -> bool:
        """Whether somebody's own class must be run to know it."""
        return self.name == "file" or self.name in FOREIGN


@dataclass(frozen=True)
class TaskSpec:
    """`NAME[:VARIANT][=FOLDER]`, a manifest file, `-` for JSONL on stdin, or `xares:FILE.yaml`."""

    text: str
    name: str  # a registered name, "manifest" or "xares"
    variant: str | None = None
    path: str | None = None


def split_list(text: str) -> list[str]:
    """Comma-separated names; quote one that holds a comma, as in CSV."""
    lines = csv.reader(io.StringIO(text), skipinitialspace=True)
    return [name.strip() for line in lines for name in line if name.strip()]


def split_encoders(text: str) -> list[str]:
    """`A+B`: the encoders that are heard together, in order; one alone for any other spec.

    A "+" inside a path joins nothing unless what follows it could be an encoder's name.

    Raises:
        UsageError: nothing before or after a "+", or the same encoder twice.
    """
    first, *rest = text.strip().split("+")
    encoders = [first.strip()]
    for piece in rest:
        if SPEC_BEGINS.match(piece.strip()):
            encoders.append(piece.strip())
        else:
            encoders[-1] += f"+{piece}"
    if len(rest) and (not encoders[0] or text.strip().endswith("+")):
        raise UsageError(f"Encoders {text!r}: nothing stands beside a '+'. Write A+B for several heard together.")
    if len(set(encoders)) < len(encoders):
        raise UsageError(f"Encoders {text!r}: the same one stands there twice. Name each once.")
    return encoders


def parse_encoder(text: str) -> EncoderSpec:
    """Takes the spec of one encoder apart without looking at the disk.

    Raises:
        UsageError: an empty name, a layer that is none of N, all, mean:A-B, weighted, or an init seed out of range.
    """
    control = UNTRAINED.match(text.strip())
    if control is None:
        return _parse_network(text.strip(), text, untrained=False)
    seed = int(control[1]) if control[1] else None
    if seed is not None and seed > LARGEST_SEED:
        raise UsageError(f"Encoder {text!r}: the init seed {seed} is too large. Write randomN: with N below 2^63.")
    return replace(_parse_network(text.strip()[control.end() :], text, untrained=True), init_seed=seed)


def _parse_network(rest: str, text: str, *, untrained: bool) -> EncoderSpec:
    """What stands behind `random:`, of the whole text."""
    rest, layer = _cut_layer(rest, text)
    if rest.startswith(tuple(f"{name}:" for name in FOREIGN)):
        return _parse_foreign(rest, text, layer=layer, untrained=untrained)
    if re.search(r"\.py(:\w+)?$", rest):
        path, _, variant = rest.partition(".py:")
        return EncoderSpec(text, "file", variant or None, path.removesuffix(".py") + ".py", layer, untrained)
    rest, _, folder = rest.partition("=")
    name, _, variant = rest.partition(":")
    if not name:
        raise UsageError(f"Encoder {text!r} has no name. Write [random:]NAME[:VARIANT][=PATH][@LAYER].")
    return EncoderSpec(text, name, variant or None, folder or None, layer, untrained)


def _parse_foreign(rest: str, text: str, *, layer: str, untrained: bool) -> EncoderSpec:
    """`xares:FILE.py[:Class][=ARGUMENTS]`; for hear also an installed module instead of the file."""
    name, _, rest = rest.partition(":")
    source, _, arguments = rest.partition("=")
    path, python, variant = source.partition(".py:")
    if not source:
        raise UsageError(f"Encoder {text!r} names no file. Write {name}:path/to/file.py[:Class].")
    return EncoderSpec(
        text, name, variant or None, path + ".py" if python else source, layer, untrained, arguments or None
    )


def _cut_layer(rest: str, text: str) -> tuple[str, str]:
    head, at, layer = rest.rpartition("@")
    if not at or "/" in layer:  # an @ inside a path is no layer
        return rest, "last"
    if not LAYER.fullmatch(layer):
        raise UsageError(f"Encoder {text!r}: layer {layer!r} is none of @N (0-based), @all, @mean:A-B, @weighted.")
    return head, layer


def parse_task(text: str) -> TaskSpec:
    """Takes a task spec apart without looking at the disk."""
    stripped = text.strip()
    if stripped == "-" or stripped.endswith(MANIFEST_SUFFIXES):
        return TaskSpec(stripped, "manifest", None, stripped)
    if stripped.startswith(XARES):
        path = stripped.removeprefix(XARES)
        if not path.endswith(YAML_SUFFIXES):
            raise UsageError(f"Task {text!r} names no YAML file of xares-llm. Write {XARES}FILE.yaml.")
        return TaskSpec(stripped, "xares", None, path)
    rest, _, folder = stripped.partition("=")
    name, _, variant = rest.partition(":")
    if not name:
        raise UsageError(
            f"Task {text!r} has no name. Write NAME[:VARIANT][=FOLDER], FILE.csv, FILE.jsonl, - (JSONL on stdin) or "
            "xares:FILE.yaml."
        )
    return TaskSpec(rest, name, variant or None, folder or None)
