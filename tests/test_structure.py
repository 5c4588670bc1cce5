"""The structure that style promises: imports point one way, files stay small, heavy libraries have one home each."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "palprobe"
ORDER = [
    "errors",
    "types",
    "registry",
    "files",
    "hub",
    "specs",
    "recipe",
    "runs",
    "distributed",
    "audio",
    "tasks",
    "encoders",
    "features",
    "integrations",
    "llm",
    "training",
    "metrics",
    "scoring",
    "stats",
    "evaluation",
    "controls",
    "grid",
    "doctor",
    "bench",
    "report",
    "cli",
]
HOMES = {
    "pydantic": {"recipe"},
    "soundfile": {"audio"},
    "soxr": {"audio"},
    "torchaudio": {"encoders"},
    "transformers": {"encoders", "llm"},
    "peft": {"llm"},
    "accelerate": {"distributed", "training"},  # training names its type
    "huggingface_hub": {"hub"},
    "safetensors": {"files", "encoders", "features"},  # features and encoders read headers only
    "matplotlib": {"report"},
    "jinja2": {"report", "llm"},  # llm: the error of a chat template
    "jiwer": {"metrics"},
    "sacrebleu": {"metrics"},
    "pandas": {"report"},
    "datasets": {"tasks"},
    "pyarrow": {"tasks"},
    "typer": {"cli"},
    "rich": {"cli", "report"},
}
LONGEST_FILE = 300  # lines
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The first-level module or package of a file: 'features' for features/store.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    """Every imported module's dotted name, those inside functions and under TYPE_CHECKING too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names.append(node.module)
            if node.module == "palprobe":
                names += [f"palprobe.{alias.name}" for alias in node.names if alias.name != "__version__"]
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    """A module imports only modules that stand earlier in the order, or its own package."""
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    assert part in ORDER, f"{part} has no place in the order"
    for name in imports_of(path):
        if name.startswith("palprobe."):
            other = name.split(".")[1]
            assert ORDER.index(other) <= ORDER.index(part), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_large_library_has_one_home(path):
    """pydantic only in recipe, soundfile only in audio, and so on; a second home would be a second opinion."""
    for name in imports_of(path):
        library = name.split(".")[0]
        if library in HOMES:
            assert part_of(path) in HOMES[library], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_read_in_one_sitting(path):
    """No module is longer than 300 lines."""
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    program = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(found.stdout.split("\n")[-2].split())


RUN = """
from palprobe.cli import app
try:
    app(args={arguments})
except SystemExit as end:
    assert end.code == 0
"""
HEAVY = {
    "torch",
    "torchaudio",
    "transformers",
    "pandas",
    "scipy",
    "sklearn",
    "peft",
    "accelerate",
    "matplotlib",
    "datasets",
    "pyarrow",
}


def test_help_loads_nothing_heavy():
    """`palprobe --help` prints without importing torch or any other heavy library."""
    assert not loaded_after(RUN.format(arguments=["--help"])) & (HEAVY | {"numpy", "pydantic"})


def test_list_loads_no_torch():
    """Listing parts reads tables of names; the parts themselves stay unloaded."""
    assert not loaded_after(RUN.format(arguments=["list"])) & (HEAVY - {"scipy", "sklearn"})


def test_registered_parts_exist():
    """Every name of every registry leads to something that can be imported."""
    from palprobe.encoders import ENCODERS
    from palprobe.integrations import CONNECTORS, INTEGRATIONS
    from palprobe.llm import LLMS
    from palprobe.metrics import METRICS
    from palprobe.tasks import TASKS

    for registry in (ENCODERS, INTEGRATIONS, TASKS, LLMS, METRICS):
        for name, part in registry.parts.items():
            assert callable(registry.load(name)), name
            assert part.summary
    assert CONNECTORS.keys() == INTEGRATIONS.parts.keys() - {"pal"}
