"""What a spec names, found and checked before any weights are read: family, files, configuration and front end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palprobe.encoders.catalog import published, variants_of
from palprobe.encoders.hf.families import FAMILIES, family_of
from palprobe.encoders.hf.family import Family, Foreign, Geometry
from palprobe.encoders.hf.files import CONFIG, find_configs, find_weights
from palprobe.encoders.hf.settings import back_end, model_type_of, read_front_end, read_part
from palprobe.encoders.hf.sizes import FRONT_ENDS, SIZES
from palprobe.encoders.options import check_options
from palprobe.encoders.weights import file_sha256, read_config
from palprobe.errors import UsageError, WeightsError
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec

POSITIONS_PER_SECOND = 50  # of Whisper's table


@dataclass(frozen=True)
class Source:
    """An encoder that can be made: everything about it but the weights themselves."""

    family: Family
    folder: Path | None  # None: an untrained encoder of published size
    weights: tuple[Path, ...]  # files that hold them; none for an untrained encoder
    config: Foreign  # of the encoder alone
    extractor: Foreign
    values: Mapping[str, Any]  # of the configuration, as they were given: JSON
    settings: Mapping[str, Any]  # of the front end: JSON

    @property
    def geometry(self) -> Geometry:
        return self.family.geometry(self.config, self.extractor)

    def identify(self, section: EncoderSection) -> dict[str, Any]:
        """Everything that decides the output but the layer, as JSON."""
        shape = self.geometry
        trained = {"weights_sha256": [file_sha256(path) for path in self.weights]}
        return {
            "name": self.family.name,
            "untrained": not self.weights,
            **(trained if self.weights else {"init_seed": section.init_seed}),
            "config": dict(self.values),
            "front_end": {"class": self.family.extractor, "back_end": back_end(self.extractor), **self.settings},
            "sample_rate": shape.sample_rate,
            "window": {"min_samples": shape.min_samples, "max_seconds": shape.max_seconds},
        }


def find_source(spec: EncoderSpec, section: EncoderSection) -> Source | Path:
    """What a spec names; of an architecture that no family knows (through hf: alone) the folder.

    Raises:
        UsageError: the spec asks for what the encoder does not have.
        WeightsError: something is not there, or does not fit the rest.
    """
    _check(spec)
    if spec.untrained and spec.path is None and spec.name != "hf":
        return _published_size(spec, section)
    hub_id = hub_id_of(spec)
    folder = find_configs(spec, hub_id)
    family = _family(spec, folder)
    if family is None:
        return folder
    config, values = read_part(family, read_config(folder, CONFIG), str(folder / CONFIG))
    if spec.untrained:
        values |= _shorten_window(family, config, section)
    elif spec.path is not None and spec.variant is not None:
        _check_variant(spec, family, config, folder)
    extractor, settings = read_front_end(family, config, folder, published=_published_settings(spec, family, config))
    weights = () if spec.untrained else tuple(find_weights(spec, hub_id, folder, family.keys))
    return Source(family, folder, weights, config, extractor, values, settings)


def hub_id_of(spec: EncoderSpec) -> str:
    """The repository that a spec names, or that its variant is published in."""
    return spec.variant or "" if spec.name == "hf" else published(spec).hub_id


def origin_of(spec: EncoderSpec, folder: Path | None) -> dict[str, str]:
    """Where the weights come from, for people."""
    if spec.untrained or folder is None:
        return {"weights": "untrained"}
    if spec.path is not None:
        return {"weights": str(folder)}
    return {"weights": hub_id_of(spec), "revision": folder.name}  # a snapshot's folder is named by its commit


def _check(spec: EncoderSpec) -> None:
    if spec.name != "hf":
        check_options(spec, variants=variants_of(spec.name), folder=True, weights=True)
    elif (spec.variant is None) == (spec.path is None):
        raise UsageError(f"{spec.text!r}: write hf:ORG/REPO for a model on the hub, or hf=FOLDER for one on this disk.")


def _family(spec: EncoderSpec, folder: Path) -> Family | None:
    if spec.name == "hf":
        return family_of(model_type_of(folder))
    found, family = read_config(folder, CONFIG).get("model_type"), FAMILIES[spec.name]
    if found in family.model_types:
        return family
    expected = " or ".join(repr(name) for name in family.model_types)
    others = [name for name, other in FAMILIES.items() if found in other.model_types]
    hint = f" Write {others[0]}={folder}." if others else ""
    raise WeightsError(f"{folder / CONFIG} is of a {found!r} model; expected {expected}.{hint}")


def _published_size(spec: EncoderSpec, section: EncoderSection) -> Source:
    entry = published(spec)
    family = FAMILIES[spec.name]
    config, values = _config_of(family, SIZES[spec.name][entry.variant])
    values |= _shorten_window(family, config, section)
    extractor, settings = read_front_end(family, config, None, published=_published_settings(spec, family, config))
    return Source(family, None, (), config, extractor, values, settings)


def _published_settings(spec: EncoderSpec, family: Family, config: Foreign) -> dict[str, Any] | None:
    """Settings to be taken where there is no file; None: a trained encoder needs one."""
    if family.published is not None:
        return family.published(config)
    # An untrained one was trained with no settings, so that none are wrong for it.
    return dict(FRONT_ENDS.get(family.name, {})) if spec.untrained else None


def _config_of(family: Family, values: Mapping[str, Any]) -> tuple[Foreign, dict[str, Any]]:
    return read_part(family, {"model_type": next(iter(family.model_types)), **values}, family.name)


def _shorten_window(family: Family, config: Foreign, section: EncoderSection) -> dict[str, Any]:
    """Nothing ties an untrained encoder to the 30 s of a trained one's table of positions."""
    if not family.window_positions:
        return {}
    tokens = round(section.untrained_window_seconds * POSITIONS_PER_SECOND / family.window_positions)
    config.max_source_positions = max(1, tokens) * family.window_positions
    return {"max_source_positions": config.max_source_positions}


def _check_variant(spec: EncoderSpec, family: Family, found: Foreign, folder: Path) -> None:
    """Raises WeightsError if a folder holds another size than the variant that the spec names."""
    sizes = SIZES[spec.name]
    expected, _ = _config_of(family, sizes[str(spec.variant)])
    for name in sorted({name for values in sizes.values() for name in values}):
        value = getattr(found, name)
        if value != getattr(expected, name):
            raise WeightsError(
                f"{folder} has {name} {value}, which is not {spec.name}:{spec.variant} "
                f"({getattr(expected, name)}). Drop ':{spec.variant}'."
            )
