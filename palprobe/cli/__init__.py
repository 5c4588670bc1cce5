"""The command line: a command parses, calls one function, prints. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys

import typer

from palprobe.cli import compare, inspection, stages
from palprobe.errors import PalprobeError

app = typer.Typer(
    name="palprobe",
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
app.command(name="list")(inspection.list_parts)
app.command()(inspection.validate)
app.command()(inspection.doctor)

BROKEN_PIPE = 141  # 128 + SIGPIPE, what a shell reports of other programs


def main() -> None:
    """Runs a command; an expected error is one line on stderr and a non-zero exit code."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice is for other programs
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # `--plan` alone means all stages; click knows options with a value or without, not both.
    arguments = ["--plan=all" if word == "--plan" else word for word in sys.argv[1:]]
    try:
        app(args=arguments, standalone_mode=True)
    except PalprobeError as error:
        typer.echo(f"palprobe: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("palprobe: interrupted; what is finished is kept. The same command goes on from there.", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its own exit
        sys.exit(BROKEN_PIPE)
