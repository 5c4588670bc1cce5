"""Configuration and front end of an encoder: those of a model's folder, or the published ones."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palprobe.encoders.hf.family import Family, Foreign
from palprobe.encoders.hf.files import CONFIG, PREPROCESSOR, PROCESSOR
from palprobe.encoders.hf.quiet import quiet
from palprobe.encoders.weights import read_config
from palprobe.errors import WeightsError
from palprobe.hub import config_errors

SHOWN_CHARACTERS = 300  # of what transformers says
# Keys of a config.json that decide nothing about an encoder's output.
ASIDE = frozenset(
    {
        "_name_or_path", "architectures", "auto_map", "dtype", "id2label", "label2id", "torch_dtype",
        "transformers_version",
    }
)  # fmt: skip
# Keys of a front end's file that name things, or that its class computes for itself.
NAMES = frozenset({"auto_map", "feature_extractor_type", "image_processor_type", "mel_filters", "processor_class"})


def model_type_of(folder: Path) -> str:
    """The model_type of a folder's config.json; one that only code of its own could run is refused.

    Raises:
        WeightsError: there is none, or transformers does not know it.
    """
    from transformers import CONFIG_MAPPING

    raw = read_config(folder, CONFIG)
    model_type = raw.get("model_type")
    if isinstance(model_type, str) and model_type in CONFIG_MAPPING:
        return model_type
    if "auto_map" in raw:
        raise WeightsError(
            f"{folder / CONFIG} is of a {model_type!r} model that comes with its own code (auto_map), and code from a "
            "repository is never run here. Write a class that runs it yourself: path/to/file.py:Class."
        )
    raise WeightsError(f"{folder / CONFIG} is of a {model_type!r} model, which transformers does not know.")


def make_config(raw: Mapping[str, Any], where: str) -> Foreign:
    """The configuration object of a config.json.

    Raises:
        WeightsError: a value that cannot be.
    """
    from transformers import CONFIG_MAPPING

    try:
        with quiet():
            return CONFIG_MAPPING[raw["model_type"]].from_dict(dict(raw))
    except config_errors() as error:
        raise WeightsError(f"{where} has a value that cannot be: {_one_line(error)}") from error


def read_part(family: Family, raw: Mapping[str, Any], where: str) -> tuple[Foreign, dict[str, Any]]:
    """The encoder's own configuration inside that of a model, and its values as they were given.

    Raises:
        WeightsError: a value that cannot be.
    """
    config, values = make_config(raw, where), raw
    for name in family.model_types[raw["model_type"]].split("."):
        if name:
            config = getattr(config, name)
            values = values.get(name) or values  # a model may derive the part from values of its own
    for name, value in family.overrides.items():
        setattr(config, name, value)
    return config, {key: value for key, value in values.items() if key not in ASIDE}


def read_front_end(
    family: Family, config: Foreign, folder: Path | None, *, published: Mapping[str, Any] | None
) -> tuple[Foreign, dict[str, Any]]:
    """The feature extractor and its settings.

    Args:
        family: whose extractor it is.
        config: of the encoder, which decides some of the settings.
        folder: where its file may be; None: nowhere.
        published: the other settings, to be taken without a file; None: they differ between published models.

    Raises:
        WeightsError: settings that are not there, cannot be, or do not fit the configuration.
    """
    implied = family.implied(config)
    path, given = (None, None) if folder is None else front_end_file(folder)
    if given is None or path is None:
        if published is None:
            raise WeightsError(
                f"{folder} has no {PREPROCESSOR}, in which models of its kind differ. Copy that of the published model "
                f"beside {CONFIG}."
            )
        settings = {**published, **implied}
        return make_extractor(family.extractor, settings, f"The front end of {family.name}"), settings
    named = given.get("feature_extractor_type", family.extractor)
    if named != family.extractor:
        raise WeightsError(f"{path}: feature_extractor_type is {named}; expected {family.extractor}.")
    settings = {key: value for key, value in given.items() if key not in NAMES}
    extractor = make_extractor(family.extractor, settings, str(path))
    for key, value in implied.items():
        if getattr(extractor, key) != value:
            raise WeightsError(f"{path}: {key} is {getattr(extractor, key)}; expected {value}.")
    return extractor, settings


def front_end_file(folder: Path) -> tuple[Path | None, dict[str, Any] | None]:
    """The file with the feature extractor's settings, and those; nothing if neither file has them.

    Raises:
        WeightsError: it holds no keys and values.
    """
    if (folder / PREPROCESSOR).is_file():
        return folder / PREPROCESSOR, read_config(folder, PREPROCESSOR)
    if (folder / PROCESSOR).is_file():
        inner = read_config(folder, PROCESSOR).get("feature_extractor")
        if isinstance(inner, dict):
            return folder / PROCESSOR, inner
    return None, None


def make_extractor(name: str, settings: Mapping[str, Any], where: str) -> Foreign:
    """A feature extractor of transformers.

    Raises:
        WeightsError: settings that cannot be.
    """
    import transformers

    try:
        return getattr(transformers, name)(**settings)
    except config_errors() as error:
        raise WeightsError(f"{where} has a setting that cannot be: {_one_line(error)}") from error


def back_end(extractor: Foreign) -> str:
    """What computes its filter banks: some extractors take torchaudio's if it is there, and give other numbers."""
    return "torchaudio" if hasattr(inspect.getmodule(type(extractor)), "ta_kaldi") else "transformers"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:SHOWN_CHARACTERS]
