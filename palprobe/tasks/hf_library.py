"""Arrow and parquet files of Hugging Face datasets, opened; the one home of datasets and pyarrow.

Nothing is decoded, downloaded or run: of the library only what reads a table on this disk is used. Its `load_dataset`
is not, as it asks the network even about files that are here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palprobe.errors import DataError
from palprobe.tasks.columns import split_of_name

SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk leaves
TABLE_SUFFIXES = (".parquet", ".arrow")
PART = re.compile(r"-\d{5}-of-\d{5}.*$")  # of a table that was cut into several files
BATCH = 16  # rows that are in memory at once, with their audio
# What pyarrow and datasets raise of altered bytes: ArrowInvalid and JSON are ValueErrors, a header that names an
# unknown codec or column is "not implemented" or a lookup, features written otherwise are a TypeError. The blocks that
# catch these hold calls of the two libraries alone, so no fault of ours is taken for one of the file.
DAMAGED = (ValueError, OSError, LookupError, TypeError, NotImplementedError)


@dataclass(frozen=True)
class Column:
    """What a column holds."""

    holds: str  # audio, label, text, number, list (of labels, texts or whole numbers) or other
    names: tuple[str, ...] = ()  # of its class labels, by their number


@dataclass(frozen=True)
class Source:
    """A split that was opened."""

    split: str  # as published: train.clean.100; empty if it has none
    columns: Mapping[str, Column]
    rows: Callable[[Sequence[str]], Iterator[Mapping[str, Any]]]  # of some columns; labels are numbers, audio is bytes


def files_below(folder: Path) -> list[Path]:
    """All files of a folder in order, but hidden ones: downloaders keep their state in them."""
    found = (path for path in folder.rglob("*") if not any(p.startswith(".") for p in path.relative_to(folder).parts))
    return sorted(path for path in found if path.is_file())


def has_tables(folder: Path) -> bool:
    """Whether a folder was written by save_to_disk, or has parquet or arrow files."""
    return _is_saved(folder) or any(path.suffix in TABLE_SUFFIXES for path in files_below(folder))


def open_sources(folder: Path, *, task: str) -> list[Source]:
    """The splits of a folder that `has_tables`, as save_to_disk or the names of files and folders say them.

    Raises:
        DataError: the library is not installed, a file is damaged, or tables of several data sets are there.
    """
    library = _library(task)
    if _is_saved(folder):
        with _reading(folder, task):
            saved = library.load_from_disk(str(folder))
        named = saved if isinstance(saved, dict) else {str(saved.split or ""): saved}
        return [
            Source(split, _columns(table.features, library), _rows([(folder, table)], task))
            for split, table in named.items()
        ]
    return [_of_files(split, paths, library, task) for split, paths in _groups(folder, task).items()]


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SAVED)


def _library(task: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"Task {task!r}: its tables are read by the library datasets. Run pip install 'palprobe[hf]'."
        ) from error
    datasets.disable_progress_bars()
    return datasets


def _groups(folder: Path, task: str) -> dict[str, list[Path]]:
    """The files of each split, which they or their folder are called after."""
    groups: dict[str, list[Path]] = {}
    homes: set[str] = set()
    for path in files_below(folder):
        if path.suffix in TABLE_SUFFIXES:
            by_folder = split_of_name(path.stem) is None and split_of_name(path.parent.name) is not None
            groups.setdefault(path.parent.name if by_folder else PART.sub("", path.stem), []).append(path)
            home = path.parent.parent if by_folder else path.parent
            homes.add(home.relative_to(folder).as_posix() if home.is_relative_to(folder) else ".")
    if len(homes) > 1:
        raise DataError(
            f"Task {task!r}: tables of several data sets are below {str(folder)!r}. Name the folder of one: "
            f"{', '.join(sorted(homes))}."
        )
    return groups


def _of_files(split: str, paths: Sequence[Path], library: Any, task: str) -> Source:
    tables = [(path, _table(path, library, task)) for path in paths]
    columns = [_columns(_features(path, table, library, task), library) for path, table in tables]
    for path, found in zip(paths, columns, strict=True):
        if found != columns[0]:
            raise DataError(
                f"Task {task!r}: {str(paths[0])!r} and {str(path)!r} are of one split but have different columns, "
                f"{sorted(columns[0])} and {sorted(found)}, or different class labels. Save them as one data set."
            )
    return Source(split, columns[0], _rows(tables, task))


def _table(path: Path, library: Any, task: str) -> Any:
    with _reading(path, task):
        if path.suffix == ".parquet":
            from pyarrow.parquet import ParquetFile

            return ParquetFile(path)
        return library.Dataset.from_file(str(path))


def _features(path: Path, table: Any, library: Any, task: str) -> Mapping[str, Any]:
    if path.suffix != ".parquet":
        return dict(table.features)
    with _reading(path, task):
        return dict(library.Features.from_arrow_schema(table.schema_arrow))


def _columns(features: Mapping[str, Any], library: Any) -> dict[str, Column]:
    return {name: _column(feature, library) for name, feature in features.items()}


def _column(feature: Any, library: Any) -> Column:
    if isinstance(feature, library.Audio) or (isinstance(feature, dict) and feature.keys() == {"bytes", "path"}):
        return Column("audio")
    if isinstance(feature, library.ClassLabel):
        return Column("label", tuple(feature.names))
    if isinstance(feature, library.Value):
        kind = feature.dtype
        return Column("other" if "binary" in kind else "number" if _is_number(kind) else "text")
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    if isinstance(inner, (library.ClassLabel, library.Value)):
        found = _column(inner, library)
        embedding = isinstance(inner, library.Value) and "float" in inner.dtype
        return Column("other" if embedding or found.holds == "other" else "list", found.names)
    return Column("other")


def _is_number(kind: str) -> bool:
    return kind.startswith(("int", "uint", "float", "bool", "decimal"))


def _rows(tables: Sequence[tuple[Path, Any]], task: str) -> Callable[[Sequence[str]], Iterator[Mapping[str, Any]]]:
    """Reads tables of one split in order, a few rows at once."""

    def rows(columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        for path, table in tables:
            with _reading(path, task):
                batches = iter(_batches(table))
            while True:
                with _reading(path, task):
                    batch = next(batches, None)
                    found = [] if batch is None else batch.select(list(columns)).to_pylist()
                if batch is None:
                    break
                yield from found

    return rows


def _batches(table: Any) -> Iterable[Any]:
    if hasattr(table, "iter_batches"):  # of a parquet file
        return table.iter_batches(BATCH)  # type: ignore[no-any-return]
    return table.with_format("arrow").iter(BATCH)  # type: ignore[no-any-return]


@contextmanager
def _reading(path: Path, task: str) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"Task {task!r}: {str(path)!r} cannot be read ({reason}). Fetch or save it again.") from error
