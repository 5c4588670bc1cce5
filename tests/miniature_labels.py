"""Official layouts in miniature whose clips have several labels."""

from pathlib import Path

from miniature_files import table, text, touch


def fsd50k(folder: Path) -> None:
    """Four classes; two training clips, one for validation, two to test, of which the last is not there."""
    truth = folder / "FSD50K.ground_truth"
    names = ("Bark", "Dog", "Electric_guitar", "Rain")
    table(truth / "vocabulary.csv", *((n, name, f"/m/{n}") for n, name in enumerate(names)))
    table(
        truth / "dev.csv",
        ("fname", "labels", "mids", "split"),
        (64760, "Electric_guitar", "/m/2", "train"),
        (16399, "Bark,Dog", "/m/0,/m/1", "train"),
        (16401, "Rain,Dog", "/m/3,/m/1", "val"),
    )
    table(truth / "eval.csv", ("fname", "labels", "mids"), (37199, "Dog,Bark", "/m/1,/m/0"), (175151, "Rain", "/m/3"))
    touch(*(folder / "FSD50K.dev_audio" / f"{name}.wav" for name in (64760, 16399, 16401)))
    touch(folder / "FSD50K.eval_audio" / "37199.wav")


SEGMENTS = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=4
# YTID, start_seconds, end_seconds, positive_labels
"""


def audioset(folder: Path) -> None:
    """Clips under each of their names; a label with a comma, two ids of one name, a clip that is not there."""
    rows = (
        (0, "/m/09x0r", "Speech"),
        (1, "/m/05zppz", "Male speech, man speaking"),
        (2, "/m/07r", "Rattle"),
        (3, "/t/dd1", "Rattle"),
    )
    table(folder / "class_labels_indices.csv", ("index", "mid", "display_name"), *rows)
    lists = {
        "balanced_train": '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd1"\nbbbbbbbbbbb, 0.000, 10.000, "/m/07r"\n',
        "unbalanced_train": '---1_cCGK4M, 0.000, 10.000, "/m/09x0r"\nggggggggggg, 5.000, 15.000, "/m/07r"\n',
        "eval": '--4gqARaEJE, 0.000, 10.000, "/m/05zppz,/m/09x0r"\nddddddddddd, 30.000, 40.000, "/t/dd1"\n',
    }
    for name, lines in lists.items():
        text(folder / f"{name}_segments.csv", SEGMENTS + lines)
    names = ("train/--PJHxphWEs.flac", "train/Ybbbbbbbbbbb.wav", "eval/--4gqARaEJE_0.m4a", "---1_cCGK4M_000000.wav")
    touch(*(folder / "audio" / name for name in names))
