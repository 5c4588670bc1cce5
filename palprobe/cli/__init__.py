"""The command line: a command parses, calls one function, prints. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from palprobe.cli import bench, compare, inspection, stages
from palprobe.errors import PalprobeError
from palprobe.report.text import visible

INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + SIGINT and + SIGPIPE, what a shell reports of other programs


class Commands(TyperGroup):
    """The commands; Ctrl-C and a closed pipe end them in our words, before typer ends them in its own."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a pipe that was closed shows now, not at Python's own exit
        except KeyboardInterrupt as error:
            typer.echo(
                "palprobe: interrupted; what is finished is kept. The same command goes on from there.", err=True
            )
            raise typer.Exit(INTERRUPTED) from error
        except BrokenPipeError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its own exit
            raise typer.Exit(BROKEN_PIPE) from error
        return result


app = typer.Typer(
    name="palprobe",
    cls=Commands,
    help="How much does an audio encoder tell a language model, what does it cost, and is the difference real?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(compare.compare)
app.command()(stages.extract)
app.command()(stages.train)
app.command(name="eval")(stages.evaluate)
app.command()(compare.report)
app.command()(bench.bench)
app.command(name="list")(inspection.list_parts)
app.command()(inspection.validate)
app.add_typer(inspection.doctors, name="doctor")


def main() -> None:
    """Runs a command; an expected error is one line on stderr and a non-zero exit code."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice is for other programs
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # `--plan` alone means all stages; click knows options with a value or without, not both.
    arguments = ["--plan=all" if word == "--plan" else word for word in sys.argv[1:]]
    try:
        app(args=arguments, standalone_mode=True)
    except PalprobeError as error:
        typer.echo(f"palprobe: {visible(str(error))}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno is None:  # a library's own use of the class
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        typer.echo(visible(f"palprobe: {where}{error.strerror}. Check paths, permissions and free space."), err=True)
        sys.exit(1)
