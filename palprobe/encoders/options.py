"""What a spec may ask of an encoder; an option without effect is refused, not passed over."""

from __future__ import annotations

from collections.abc import Collection

from palprobe.errors import UsageError
from palprobe.recipe import EncoderSpec
from palprobe.registry import near_miss


def check_options(
    spec: EncoderSpec,
    *,
    variants: Collection[str] = (),
    folder: bool = False,
    layers: bool = False,
    weights: bool = False,
) -> None:
    """Raises UsageError if a spec asks for what the encoder does not have.

    Args:
        spec: the request.
        variants: the names that may follow the colon.
        folder: whether `=FOLDER` means something.
        layers: whether `@N` means something; the range is the encoder's to check.
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
    if spec.layer != "last" and not layers:
        raise UsageError(f"{spec.text!r}: {name} has no layers to choose from. Drop {'@' + spec.layer!r}.")
    if spec.layer != "last" and not spec.layer.isdecimal():
        raise UsageError(
            f"{spec.text!r}: @{spec.layer} is not supported yet for {name}. Write @N, or nothing: the last."
        )
