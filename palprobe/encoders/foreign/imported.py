"""Features that another tool computed: `imported:RATEhz=ARCHIVE`; who they are, since there is no encoder to run."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, NoReturn

from palprobe.encoders.options import check_options
from palprobe.encoders.weights import file_sha256
from palprobe.errors import UsageError, WeightsError
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec
from palprobe.types import Kind

TARS = (".tar", ".tar.gz", ".tgz")
SUFFIXES = (".npy", ".timestamps.json", *TARS)  # embeddings, when their frames are, and tars of both
RATE = re.compile(r"(\d+(?:\.\d+)?)hz", re.IGNORECASE)


class Imported:
    """Not an encoder but its output, kept as .npy in a folder or a tar; `palprobe extract` matches it to clips by name.

    RATE is the frames per second of the embeddings, as in `imported:25hz=embeddings.tar`: no archive says it of itself.
    """

    VERSION = 1

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:  # noqa: ARG003 - no options
        rate = frame_rate(spec)
        return {"name": "imported", "version": cls.VERSION, "frame_rate": rate, "archive_sha256": _sha256(spec)}

    @classmethod
    def kind_of(cls, spec: EncoderSpec, section: EncoderSection) -> Kind:  # noqa: ARG003 - nobody says what made them
        return "general"

    @classmethod
    def depth_of(cls, spec: EncoderSpec, section: EncoderSection) -> int:  # noqa: ARG003 - no layers
        return 0

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:  # noqa: ARG003 - nothing to choose
        return {"weights": f"unknown; features imported from {spec.path}"}

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> NoReturn:  # noqa: ARG003 - refused
        raise UsageError(
            f"{spec.text!r} holds features and encodes nothing: a clip is in the archive or it is not. Run `palprobe "
            "extract` to import it, or name the encoder itself."
        )


def frame_rate(spec: EncoderSpec) -> float:
    """Frames per second that a spec says its embeddings have.

    Raises:
        UsageError: it says none, or asks for what imported features do not have.
    """
    check_options(spec, variants=(spec.variant or "",), folder=True)
    found = RATE.fullmatch(spec.variant or "")
    if found is None or not float(found[1]) or spec.path is None:
        raise UsageError(
            f"Encoder {spec.text!r}: write imported:RATEhz=ARCHIVE, with the frames per second of the embeddings and "
            "their folder or tar, as in imported:25hz=embeddings.tar."
        )
    return float(found[1])


def archive_files(spec: EncoderSpec) -> list[Path]:
    """The files of the archive that a spec names, in order: itself, or those in a folder.

    Raises:
        WeightsError: there is no such archive, it holds no such file, or a link leads out of it.
    """
    path = Path(spec.path or "").expanduser()
    if path.is_file() and path.name.endswith(TARS):
        return [path]
    if not path.is_dir():
        raise WeightsError(f"Encoder {spec.text!r}: {str(path)!r} is neither a folder nor a tar ({', '.join(TARS)}).")
    files = sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and file.is_file())
    outside = [file for file in files if not file.resolve().is_relative_to(path.resolve())]
    if outside:
        raise WeightsError(
            f"{str(outside[0])!r} is a link out of the archive {str(path)!r}. Put the file itself there."
        )
    if not files:
        raise WeightsError(f"The folder {str(path)!r} holds neither .npy files nor tars of them.")
    return files


def _sha256(spec: EncoderSpec) -> str:
    """Of the archive's names and bytes; a tar has the name of nothing."""
    folder = Path(spec.path or "").expanduser()
    sha = hashlib.sha256()
    for file in archive_files(spec):
        name = "" if file == folder else file.relative_to(folder).as_posix()
        sha.update(f"{name}|{file_sha256(file)}\n".encode())
    return sha.hexdigest()
