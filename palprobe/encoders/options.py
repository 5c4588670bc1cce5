"""What a spec may ask of an encoder; an option without effect is refused, not passed over."""

from __future__ import annotations

from collections.abc import Collection

from palprobe.errors import UsageError
from palprobe.registry import near_miss
from palprobe.specs import EncoderSpec


def check_options(
    spec: EncoderSpec, *, variants: Collection[str] = (), folder: bool = False, weights: bool = False
) -> None:
    """Raises UsageError if a spec asks for what the encoder does not have; layers are `stored_layers`' to check.

    Args:
        spec: the request.
        variants: the names that may follow the colon.
        folder: whether `=PATH` means something.
        weights: whether there are any, so that `random:` is a control.
    """
    name = spec.name
    if spec.untrained and not weights:
        raise UsageError(f"{spec.text!r}: {name} has no weights, so it has no untrained control. Write {name!r}.")
    if spec.path is not None and not folder:
        raise UsageError(f"{spec.text!r}: {name} reads no folder. Drop {'=' + spec.path!r}.")
    if spec.variant is not None and not variants:
        raise UsageError(f"{spec.text!r}: {name} has no variants. Drop {':' + spec.variant!r}.")
    if spec.variant is not None and spec.variant not in variants:
        known = ", ".join(variants)
        hint = near_miss(spec.variant, variants)
        raise UsageError(f"{name} has no variant {spec.variant!r}.{hint} Known: {known}.")


def stored_layers(spec: EncoderSpec, depth: int) -> list[tuple[int, ...]]:
    """The layers that a spec asks for, a tuple for each store: the layers whose mean that store holds.

    Args:
        spec: `@N`, `@mean:A-B`, `@all`, `@weighted`, or nothing for the last.
        depth: number of the encoder's last layer; 0 if it has none to choose from.

    Raises:
        UsageError: a layer that is not there.
    """
    if spec.layer == "last":
        return [(depth,)]
    if not depth:
        raise UsageError(f"{spec.text!r}: {spec.name} has no layers to choose from. Drop {'@' + spec.layer!r}.")
    if spec.layer in ("all", "weighted"):
        return [(layer,) for layer in range(depth + 1)]
    first, _, last = spec.layer.removeprefix("mean:").partition("-")
    chosen = tuple(range(int(first), int(last or first) + 1))
    if not chosen or chosen[-1] > depth:
        raise UsageError(f"{spec.text!r}: its layers are @0, input of the first block, to @{depth}, the last.")
    return [chosen]
