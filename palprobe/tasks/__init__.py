"""Tasks by name, and `load_task`, which finds a task's folder; a new task is one file here and one line in `TASKS`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from palprobe.errors import DataError, UnknownNameError, UsageError
from palprobe.registry import Part, Registry, near_miss
from palprobe.specs import TaskSpec
from palprobe.types import Task, TaskData

# How far a loader of a published layout can be trusted, as `palprobe list tasks` says it.
VERIFIED = "verified"  # it has read rows that the publisher wrote
DOCUMENTED = "layout from documentation"  # written from the sources in its docstring; no row was at hand

TASKS = Registry(
    "task",
    {
        "air-bench": Part(
            "palprobe.tasks.air_bench:load_air_bench",
            f"multiple-choice: 19 tasks in single-choice questions, test only; {DOCUMENTED}",
        ),
        "audiocaps": Part("palprobe.tasks.audiocaps:load_audiocaps", f"captioning: YouTube sounds; {VERIFIED}"),
        "audioset": Part(
            "palprobe.tasks.audioset:load_audioset",
            f"multi-label: 527 sounds on YouTube; variants balanced (default) and unbalanced; {DOCUMENTED}",
        ),
        "captions": Part(
            "palprobe.tasks.captions:load_captions",
            f"captioning: a small set of sounds and music, 5 folds; {VERIFIED}",
        ),
        "clotho": Part("palprobe.tasks.clotho:load_clotho", f"captioning: five captions a sound; {DOCUMENTED}"),
        "clothoaqa": Part(
            "palprobe.tasks.clothoaqa:load_clothoaqa",
            f"multiple-choice or open: questions about sounds; variants yes-no (default) and word (open); {DOCUMENTED}",
        ),
        "crema-d": Part(
            "palprobe.tasks.crema_d:load_crema_d",
            f"classification: 6 acted emotions, a split by actor of ours; {DOCUMENTED}",
        ),
        "diagnostics": Part(
            "palprobe.tasks.diagnostics:load_diagnostics", "classification: nine questions about synthesised sounds"
        ),
        "esc10": Part(
            "palprobe.tasks.esc50:load_esc10",
            f"classification: 10 environmental sounds, 5 folds (a part of ESC-50); {VERIFIED}",
        ),
        "esc50": Part(
            "palprobe.tasks.esc50:load_esc50",
            f"classification: 50 environmental sounds, 5 folds; {VERIFIED} on the rows of ESC-10",
        ),
        "fluent-speech-commands": Part(
            "palprobe.tasks.fluent_speech_commands:load_fluent_speech_commands",
            f"classification: 31 spoken intents; {DOCUMENTED}",
        ),
        "fma-small": Part(
            "palprobe.tasks.fma_small:load_fma_small", f"classification: 8 genres of music; {DOCUMENTED}"
        ),
        "fsd50k": Part("palprobe.tasks.fsd50k:load_fsd50k", f"multi-label: 200 sounds, several at once; {DOCUMENTED}"),
        "fsdd": Part(
            "palprobe.tasks.fsdd:load_fsdd",
            f"classification: spoken digits; variants digit (default) and speaker; {VERIFIED}",
        ),
        "gtzan": Part(
            "palprobe.tasks.gtzan:load_gtzan",
            f"classification: 10 genres of music, fault-filtered lists wanted; {DOCUMENTED}",
        ),
        "librispeech": Part(
            "palprobe.tasks.librispeech:load_librispeech",
            f"classification or transcription: read English; variants sex (default) and asr, scored by WER; {VERIFIED}",
        ),
        "mmar": Part(
            "palprobe.tasks.mmar:load_mmar",
            f"multiple-choice: questions that take reasoning, test only; {DOCUMENTED}",
        ),
        "mmau": Part(
            "palprobe.tasks.mmau:load_mmau",
            f"multiple-choice: questions on sound, music and speech, test only; {VERIFIED}",
        ),
        "muchomusic": Part(
            "palprobe.tasks.muchomusic:load_muchomusic",
            f"multiple-choice: questions on music, test only; {DOCUMENTED}",
        ),
        "musiccaps": Part(
            "palprobe.tasks.musiccaps:load_musiccaps", f"captioning: descriptions of YouTube music; {DOCUMENTED}"
        ),
        "notes": Part(
            "palprobe.tasks.notes:load_notes",
            f"classification: a small set of notes and hits; variants instrument (default) and pitch; {VERIFIED}",
        ),
        "nsynth": Part(
            "palprobe.tasks.nsynth:load_nsynth",
            f"classification: instrument notes; variants family (default), source and pitch; {DOCUMENTED}",
        ),
        "qa": Part(
            "palprobe.tasks.qa:load_qa",
            f"multiple-choice: questions on small sets of recordings, 5 folds; {VERIFIED}",
        ),
        "ravdess": Part(
            "palprobe.tasks.ravdess:load_ravdess",
            f"classification: 8 acted emotions, 6 folds by actor of ours; {DOCUMENTED}",
        ),
        "song-describer": Part(
            "palprobe.tasks.song_describer:load_song_describer",
            f"captioning: songs, test only; variant valid; {DOCUMENTED}",
        ),
        "speech-commands": Part(
            "palprobe.tasks.speech_commands:load_speech_commands", f"classification: 35 spoken words; {DOCUMENTED}"
        ),
        "urbansound8k": Part(
            "palprobe.tasks.urbansound8k:load_urbansound8k", f"classification: 10 urban sounds, 10 folds; {DOCUMENTED}"
        ),
        "vggsound": Part(
            "palprobe.tasks.vggsound:load_vggsound", f"classification: 309 sounds on YouTube; {DOCUMENTED}"
        ),
        "vocalsound": Part(
            "palprobe.tasks.vocalsound:load_vocalsound", f"classification: 6 vocal sounds; {DOCUMENTED}"
        ),
    },
)
SYNTHESISED = frozenset({"diagnostics"})  # made by palprobe: they need a cache, not the data of a publisher

UNREGISTERED = ("manifest", "xares", "wds", "datasets")  # a person's own data: its name says where it is
OWN_DATA = {  # the same, as `palprobe list tasks` says it
    "FILE.csv or FILE.jsonl": "any kind: a table of clips and answers, whose column of answers says the kind",
    "wds:SHARDS": "any kind: tar shards of webdataset, a folder or a pattern; audio with .json, .cls or .txt",
    "datasets:FOLDER": "any kind: a folder of Hugging Face datasets, saved or downloaded; pip install 'palprobe[hf]'",
    "xares:FILE.yaml": "a training or evaluation file of xares-llm and its shards",
}
SHARDS = "shards"  # folder of what is unpacked


def load_task(spec: TaskSpec, *, data_root: Path | None, cache: Path, allow_missing: bool = False) -> TaskData:
    """Reads a task's labels and finds its audio; decodes nothing.

    Args:
        spec: a registered task, or one of `UNREGISTERED`.
        data_root: holds a folder NAME for each task whose spec gives no folder.
        cache: where synthesised tasks are rendered; shards are unpacked beside it.
        allow_missing: count the absent audio of a person's own data instead of refusing it.

    Raises:
        UnknownNameError: no such task or variant.
        UsageError: neither the spec nor `data_root` says where the data is.
        DataError: the folder is not there, or what it holds cannot be used.
    """
    if spec.name == "manifest":
        from palprobe.tasks.manifest import load_manifest

        data = load_manifest(spec.path or "-", allow_missing=allow_missing)
    elif spec.name == "xares":
        from palprobe.tasks.xares import load_xares

        data = load_xares(spec.path or "", cache=cache.with_name(SHARDS))
    elif spec.name == "wds":
        from palprobe.tasks.webdataset import load_webdataset

        data = load_webdataset(spec, cache=cache.with_name(SHARDS), allow_missing=allow_missing)
    elif spec.name == "datasets":
        from palprobe.tasks.hf_datasets import load_hf_dataset

        data = load_hf_dataset(spec, cache=cache.with_name(SHARDS), allow_missing=allow_missing)
    else:
        TASKS.check(spec.name)
        folder = _folder(spec, data_root, cache)
        task: Task = TASKS.load(spec.name)
        data = task(folder, spec.variant)
    if not data.examples:
        first = f" (first: {data.missing[0]!r})" if data.missing else ""
        raise DataError(f"Task {spec.text!r}: none of its {len(data.missing)} listed audio files is there{first}.")
    return data


def is_located(spec: TaskSpec, data_root: Path | None) -> bool:
    """Whether anything says where a task's data is; raises UnknownNameError if there is no such task."""
    if spec.name in UNREGISTERED:
        return True
    TASKS.check(spec.name)
    return spec.path is not None or spec.name in SYNTHESISED or data_root is not None


def _folder(spec: TaskSpec, data_root: Path | None, cache: Path) -> Path:
    if spec.path is not None:
        # A shell leaves the ~ of NAME=~/FOLDER alone.
        folder = Path(spec.path).expanduser() if spec.path.startswith("~/") else Path(spec.path)
    elif spec.name in SYNTHESISED:
        folder = cache / spec.name
    elif data_root is not None:
        folder = data_root / spec.name
    else:
        raise UsageError(
            f"Task {spec.text!r}: no folder is given. Write --tasks {spec.text}=FOLDER, or keep it as ROOT/{spec.name} "
            "and give --data-root ROOT (or set PALPROBE_DATA=ROOT)."
        )
    if spec.name not in SYNTHESISED and not folder.is_dir():
        raise DataError(f"Task {spec.text!r}: no folder {str(folder)!r}. Write --tasks {spec.text}=FOLDER.")
    return folder


def check_variant(task: str, variant: str | None, known: Collection[str]) -> None:
    """Raises UnknownNameError, with the nearest name and all known ones, for a variant that the task has not."""
    if variant is not None and variant not in known:
        names = ", ".join(known) or "none"
        raise UnknownNameError(
            f"Task {task!r} has no variant {variant!r}.{near_miss(variant, known)} Known variants: {names}."
        )
