"""Running somebody's file or installed module: with its neighbours, without traces, and what goes wrong in one line."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from palprobe.errors import EncoderError, PalprobeError, UsageError
from palprobe.files import sha256_of
from palprobe.specs import EncoderSpec


def is_file(spec: EncoderSpec) -> bool:
    """Whether a spec names a file, not an installed module."""
    return (spec.path or "").endswith(".py")


def module_and_class(spec: EncoderSpec) -> tuple[str, str | None]:
    """`path/to/file.py` or `package.module`, and the class that is asked for."""
    if is_file(spec):
        return spec.path or "", spec.variant
    name, _, kind = (spec.path or "").partition(":")
    return name, spec.variant or kind or None


def source_file(spec: EncoderSpec) -> Path:
    """The file that a spec names, or that its installed module would be read from.

    Raises:
        UsageError: there is none.
    """
    name, _ = module_and_class(spec)
    if is_file(spec):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UsageError(f"Encoder {spec.text!r}: there is no file {str(path)!r}. Write path/to/file.py:Class.")
        return path
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # no such parent; no name; the parent is no package
        found = None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise UsageError(
            f"Encoder {spec.text!r}: {name!r} is neither a .py file nor an installed module. "
            f"Write {spec.name}:path/to/file.py or {spec.name}:MODULE."
        )
    return Path(found.origin)


@contextmanager
def imported(spec: EncoderSpec, path: Path) -> Iterator[tuple[ModuleType, dict[str, str]]]:
    """The module of a spec; inside the block, what lies beside its file can be imported as well.

    Neighbours come before installed modules of the same name, as in a script; `from .model import Net` works too.
    After the block they are forgotten, since another encoder's `model.py` is another module, and the dict holds the
    sha256 of each file that was imported. An installed module has no neighbours: its package holds all.

    Args:
        spec: names a file or an installed module.
        path: from `source_file`.

    Raises:
        EncoderError: the code fails while it is imported.
    """
    neighbours: dict[str, str] = {}
    if not is_file(spec):
        name, _ = module_and_class(spec)
        with user_code(path, f"{name} cannot be imported"):
            module = importlib.import_module(name)
        yield module, neighbours
        return
    folder = path.resolve().parent
    package = f"palprobe_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    with _on_the_path(folder, package, neighbours):
        yield _import_file(path, package), neighbours


@contextmanager
def user_code(path: Path, what: str) -> Iterator[None]:
    """Whatever a stranger's code raises becomes one line that names the line of their file.

    What it prints goes to stderr, as stdout is for results; torch's default dtype and gradient mode are put back.

    Args:
        path: of their file.
        what: failed, for the message.

    Raises:
        EncoderError: anything was raised.
    """
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        with redirect_stdout(sys.stderr):
            yield
    except PalprobeError:  # ours already
        raise
    except (Exception, SystemExit) as error:  # anything may come out of code that is not ours; it is raised again
        line = _failing_line(error, path)
        place = f"{path}, line {line}" if line else str(path)
        reason = " ".join(str(error).split())
        raise EncoderError(f"{what}: {place}: {type(error).__name__}: {reason}") from error
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)


def _failing_line(error: BaseException, path: Path) -> int | None:
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == path.resolve():
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return next(reversed(lines), None)


class _SourceLoader(SourceFileLoader):
    """Always compiles: a cached file counts as current by its size and the second of its change."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError(f"no compiled copy of {path} is kept")


def _import_file(path: Path, package: str) -> ModuleType:
    """The file as a submodule of a package of its own, which has its neighbours as the other submodules."""
    parent = ModuleType(package)
    parent.__path__ = [str(path.resolve().parent)]
    name = f"{package}.{package}"  # a neighbour may have any other name
    module_spec = importlib.util.spec_from_file_location(name, path, loader=_SourceLoader(name, str(path)))
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[package], sys.modules[name] = parent, module  # dataclasses and pickles look their module up there
    with user_code(path, f"{path} cannot be imported"):
        module_spec.loader.exec_module(module)
    return module


@contextmanager
def _on_the_path(folder: Path, package: str, neighbours: dict[str, str]) -> Iterator[None]:
    """Inside, modules in a folder can be imported; afterwards those are listed by their bytes and forgotten."""
    installed = {Path(place).resolve() for place in sysconfig.get_paths().values()}
    if folder in installed:  # everything there is on the path already, and stays
        yield
        return
    before = _pop_modules(folder, package)
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # it is somebody else's folder
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes_bytecode
        own = {name: sys.modules[name] for name in (package, f"{package}.{package}") if name in sys.modules}
        for name, module in _pop_modules(folder, package).items():
            if name not in own and (file := vars(module).get("__file__")):
                neighbours[Path(file).relative_to(folder).as_posix()] = sha256_of(Path(file))
        sys.modules.update(before | own)


def _pop_modules(folder: Path, package: str) -> dict[str, ModuleType]:
    """Takes out of `sys.modules` what was imported from a folder as its neighbours are, and what is in `package`."""
    popped = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top == package or (top != "palprobe" and _lies_in(folder, name, module)):  # it may be run from a checkout
            popped[name] = sys.modules.pop(name)
    return popped


def _lies_in(folder: Path, name: str, module: Any) -> bool:
    """Whether a module was read from the place in a folder that its name says."""
    fields = vars(module) if isinstance(module, ModuleType) else {}  # no getattr: some modules load more on access
    found = str(fields.get("__file__") or next(iter(fields.get("__path__") or ()), ""))
    base = str(folder.joinpath(*name.split(".")))
    return found == base or found.startswith((f"{base}.", f"{base}{os.sep}__init__."))


def package_sha256(spec: EncoderSpec) -> str:
    """Of the names and bytes of all Python files in the top-level package of an installed module, which is imported."""
    top = sys.modules[module_and_class(spec)[0].partition(".")[0]]
    files = {Path(top.__file__)} if top.__file__ else set()
    folders = [Path(place) for place in getattr(top, "__path__", ())]
    files |= {path for folder in folders for path in folder.rglob("*.py")}
    names = {path: next((path.relative_to(f).as_posix() for f in folders if f in path.parents), "") for path in files}
    sha = hashlib.sha256()
    for path in sorted(files, key=lambda path: (names[path], path)):
        sha.update(f"{names[path]}|{sha256_of(path)}|".encode())
    return sha.hexdigest()


def neighbours_unchanged(identity: Mapping[str, Any], file: Path) -> bool:
    """Whether the modules beside a file that its encoder once imported still hold the same bytes; runs nothing.

    Args:
        identity: of the encoder, as it was recorded.
        file: where its file is now.
    """
    folder = file.resolve().parent
    known: Mapping[str, str] = identity.get("neighbours", {})
    return all((folder / name).is_file() and sha256_of(folder / name) == sha for name, sha in known.items())
