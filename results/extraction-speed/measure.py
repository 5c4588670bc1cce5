"""How much of an encoder's own speed extraction reaches, decoding, resampling and writing included.

    PALPROBE_DATA=DATA python results/extraction-speed/measure.py --out results/extraction-speed/speed.csv

For each family at base size with random weights: 24 clips of esc10 (2 minutes, 44.1 kHz Ogg Vorbis) are extracted into
an empty store, and the same encoder is called on the same waveforms, ready in memory at its own rate. The two are
measured in turn, three times after one warm-up; a line holds the medians and their ratio, with the smallest and
largest ratio of a repetition. Loading the encoder is in neither.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from palprobe.audio import load_clip, resample
from palprobe.encoders import load_encoder
from palprobe.encoders.windows import encode_clips
from palprobe.features import extraction
from palprobe.recipe import Recipe
from palprobe.specs import parse_encoder, parse_task
from palprobe.tasks import load_task

CLIPS, REPETITIONS = 24, 3
FAMILIES = (
    "random:beats",
    "random:eat",
    "random:sslam",
    "random:dasheng",
    "random:whisper:base",
    "random:wav2vec2",
    "random:hubert",
    "random:wavlm",
    "random:data2vec",
    "random:w2v-bert",
    "random:ast",
    "random:clap",
    "random:encodec",
    "random:dac",
    "random:mimi",
    "random:parakeet",
    "random:pe-audio:base",
    "random:qwen2-audio",
    "random:moonshine:base",
)
COLUMNS = ("encoder", "clips", "audio_seconds", "extraction_clips_per_second", "forward_clips_per_second")
COLUMNS += ("ratio", "ratio_low", "ratio_high", "threads", "torch")


def main() -> None:
    """Measures the families named on the command line, or all, and writes the CSV."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--encoders", nargs="*", default=list(FAMILIES))
    chosen = arguments.parse_args()
    if not os.environ.get("PALPROBE_DATA"):
        sys.exit("Set PALPROBE_DATA to the folder that holds esc10.")
    with chosen.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for encoder in chosen.encoders:
            row = measure(encoder)
            writer.writerow(row)
            file.flush()
            print(row, file=sys.stderr)  # noqa: T201 - a script


def measure(text: str) -> dict[str, object]:
    """One line of the CSV."""
    task = load_task(parse_task("esc10"), data_root=Path(os.environ["PALPROBE_DATA"]), cache=Path("unused"))
    examples = task.examples[:CLIPS]
    spec, recipe = parse_encoder(text), Recipe(encoders=[text])
    encoder = load_encoder(spec, recipe.encoder)
    waveforms = [torch.from_numpy(resample(load_clip(e.audio), encoder.sample_rate)) for e in examples]
    extraction.load_encoder = lambda *_, **__: encoder  # type: ignore[assignment]  # loaded once, for both
    pairs = []
    for _ in range(REPETITIONS + 1):
        with tempfile.TemporaryDirectory() as folder:
            found = extraction.extract([spec], examples, recipe, Path(folder))
        begin = time.monotonic()
        for waveform in waveforms:
            encode_clips(encoder, [waveform], [encoder.depth])
        pairs.append((CLIPS / found.encode_seconds, CLIPS / (time.monotonic() - begin)))
    ratios = [extracted / forward for extracted, forward in pairs[1:]]
    return {
        "encoder": text,
        "clips": CLIPS,
        "audio_seconds": round(sum(len(waveform) for waveform in waveforms) / encoder.sample_rate, 1),
        "extraction_clips_per_second": round(median(pair[0] for pair in pairs[1:]), 3),
        "forward_clips_per_second": round(median(pair[1] for pair in pairs[1:]), 3),
        "ratio": round(median(ratios), 3),
        "ratio_low": round(min(ratios), 3),
        "ratio_high": round(max(ratios), 3),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
