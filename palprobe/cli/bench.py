"""`bench`: what each integration costs on this machine, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palprobe.cli import options
from palprobe.cli.options import Device, Format
from palprobe.errors import UsageError

AUDIO_TOKENS, TEXT_TOKENS = "64,250,500,1500", "32,64,128"
QUICK_AUDIO_TOKENS, QUICK_TEXT_TOKENS, QUICK_INTEGRATIONS = "64,250", "64", "plits,lal"
TRAINABLE = ("connector", "lora", "full")


def bench(
    llm: Annotated[
        str, typer.Option(help="SmolLM2-135M, SmolLM2-360M, Qwen2-0.5B, Llama-3.2-1B or -3B, tiny, or folders.")
    ] = "SmolLM2-135M",
    audio_tokens: Annotated[str | None, typer.Option(help=f"Per clip; {AUDIO_TOKENS} if not given.")] = None,
    text_tokens: Annotated[str | None, typer.Option(help=f"With the answer; {TEXT_TOKENS} if not given.")] = None,
    batch: Annotated[int | None, typer.Option(help="Clips in a step; up to 4 of 4096 tokens if not given.")] = None,
    integrations: Annotated[str | None, typer.Option(help="NAME[:CONNECTOR], with commas; all if not given.")] = None,
    trainable: Annotated[str, typer.Option(help="Of the LLM: connector (frozen), lora or full.")] = "connector",
    encoder: Annotated[str | None, typer.Option(help="Encoders, whose time is added: random:whisper:tiny, …")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small grid: PLITS and LAL at two lengths.")] = False,
    time_limit: Annotated[float | None, typer.Option(help="Seconds; what is left then is not measured.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write cost.csv, cost.md and speedup.svg there.")] = None,
    format_: Format = None,
    device: Device = "auto",
) -> None:
    """Measure what each integration costs beside what it must cost; weights are random, each cell in a fresh process.

    Example: palprobe bench --llm Qwen2-0.5B --quick
    """
    from palprobe.bench.costs import cost_rows
    from palprobe.bench.grid import plan_grid
    from palprobe.bench.measure import measure
    from palprobe.cli.output import print_costs
    from palprobe.cli.progress import Watching
    from palprobe.distributed import resolve_device
    from palprobe.report.costs import write_costs

    form = options.chosen_format(format_)
    if trainable not in TRAINABLE:
        raise UsageError(f"--trainable {trainable!r}: choose one of {', '.join(TRAINABLE)}.")
    small, whole = (QUICK_AUDIO_TOKENS, QUICK_TEXT_TOKENS, QUICK_INTEGRATIONS), (AUDIO_TOKENS, TEXT_TOKENS, None)
    audio, text, names = small if quick else whole
    grid = plan_grid(
        options.names(llm) or [],
        audio_tokens=options.numbers(audio_tokens or audio, "--audio-tokens") or [],
        text_tokens=options.numbers(text_tokens or text, "--text-tokens") or [],
        integrations=options.names(integrations or names),
        device=resolve_device(device),
        batch=batch,
        trainable=trainable,  # type: ignore[arg-type]
        encoders=options.names(encoder) or [],
        time_limit=time_limit,
    )
    with Watching() as watcher:
        watcher.stage("bench", total=len(grid.groups))
        found = measure(grid, watcher.advance)
        watcher.end(f"{sum(one.measured for one in found)} of {len(found)} cells measured")
    rows = cost_rows(grid, found)
    if out is not None:
        write_costs(rows, out)
    print_costs(rows, form, width=options.columns())
