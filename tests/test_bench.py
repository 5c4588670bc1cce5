"""The grid of costs: what is measured when, what becomes of cells that fail, and what the numbers are made into."""

import csv
import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from palprobe.bench import measure as measuring
from palprobe.bench import worker
from palprobe.bench.apart import AudioApart
from palprobe.bench.cell import EncoderCell, LLMCell, SavedBytes
from palprobe.bench.costs import cost_rows
from palprobe.bench.grid import batch_of, plan_grid
from palprobe.bench.job import Job
from palprobe.bench.measure import measure
from palprobe.bench.rows import COLUMNS, csv_text
from palprobe.cli import app
from palprobe.errors import PalprobeError, UsageError
from palprobe.report.cost_plot import speedup_svg
from palprobe.report.costs import cost_tables, markdown_costs, split_lines

SMALL = {"audio_tokens": [20], "text_tokens": [10], "device": "cpu"}
FAKE = Path(__file__).parent / "fake_cell.py"


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    """Cells are fakes that write into this file what they were asked for."""
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, str(FAKE)))
    monkeypatch.setattr(measuring, "MOST_ROUNDS", 3)
    monkeypatch.setenv("FAKE_CELL_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def measured(names, *, progress=lambda done, name: None, **changes):
    grid = plan_grid(["tiny"], integrations=names, **(SMALL | changes))
    return cost_rows(grid, measure(grid, progress))


def by_name(rows):
    return {(row.integration, row.encoder): row for row in rows}


# --- what is measured


def test_integrations_take_turns(log):
    """In every round each process takes one step before any takes its next, and then each decodes."""
    seen = []
    measured(["lal"], progress=lambda done, name: seen.append((done, name)))
    order = ["plits train", "lal train", "plits-apart train", "plits infer", "lal infer"]
    assert log.read_text().splitlines() == [f"20 {line}" for line in order] * 3
    assert seen == [(0, "tiny, 4 × 20 audio and 10 text tokens"), (1, "")]


def test_ratios_are_of_the_same_round(log):
    """A machine that slows down for all alike changes the seconds and no ratio; bytes and seconds are the cell's."""
    rows = by_name(measured(["lal"], encoders=["logmel"]))
    plits, lal, both = rows["plits", ""], rows["lal", ""], rows["lal", "logmel"]
    assert (plits.train_speedup, lal.train_speedup, lal.prefill_speedup) == (1.0, 4.0, 4.0)
    assert lal.train_seconds == 2.0 * 2  # rounds of 1, 2 and 3 times 2 s
    assert (lal.saved_share, lal.step_memory_share) == (0.25, 0.25)
    assert (lal.peak_memory_bytes, lal.inference_memory_bytes) == (11_000, 10_000)
    assert lal.train_reached == pytest.approx(4.0 / lal.train_bound, rel=1e-4)
    assert lal.bypassed_measured == pytest.approx((10 - 4) / (16 - 4))  # medians: 16 s whole, 10 s apart, 4 s lal
    assert (lal.rounds, lal.threads, lal.machine) == (3, 3, "a fake")
    assert (both.audio_seconds, both.encode_seconds) == (2.5, 1.0)
    assert both.system_train_speedup == pytest.approx((16 + 1) / (4 + 1))
    assert both.system_prefill_speedup == pytest.approx((8 + 1) / (2 + 1))
    assert rows["plits-apart", ""].prefill_seconds is None


def test_cells_that_fail_say_why_and_the_rest_goes_on(log):
    """Killed, out of memory, crashed at the start or in a later round: each row says which, and the others stand."""
    rows = by_name(measured(["lal", "flamingo", "pal@v3", "plits:linear"]))
    assert rows["flamingo", ""].status.startswith("failed: its process was ended by signal 9 (out of memory")
    assert rows["pal@v3", ""].status == "failed: cannot allocate 9 EiB"
    assert rows["plits:linear", ""].status == "failed: its process ended with code 1: gone in the second round"
    assert rows["plits:linear", ""].train_seconds is None
    assert rows["lal", ""].measured and rows["plits", ""].measured
    assert rows["flamingo", ""].train_bound > 1  # counted all the same


def test_what_the_time_limit_leaves_is_listed(log):
    """The quick group is measured whole; of the slow one, no cell is half measured; nothing waits for the end."""
    rows = measured(["plits:qformer", "lal"], audio_tokens=[100, 20], time_limit=4.0)
    status = {(row.audio_tokens, row.integration): row.status for row in rows}
    assert {status[20, name] for name in ("plits", "lal", "plits:qformer", "plits-apart")} == {"measured"}
    assert {status[100, name] for name in ("plits", "lal", "plits:qformer", "plits-apart")} == {
        "not measured: time limit"
    }
    assert [row.audio_tokens for row in rows[:4]] == [100] * 4  # in the order asked for


def test_a_small_memory_seats_one_at_a_time(log, monkeypatch):
    """Without room for another process the cells follow each other, and ratios are those of medians."""
    monkeypatch.setattr(measuring, "memory_bytes", lambda: (1000, 1000))
    rows = by_name(measured(["lal"]))
    assert log.read_text().splitlines()[:4] == ["20 plits train", "20 plits infer"] * 2
    assert rows["lal", ""].train_speedup == 4.0


# --- what is asked for


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_tokens": [64, 0]}, r"--audio-tokens 64,0: give positive"),
        ({"text_tokens": [-3]}, r"--text-tokens -3: give positive"),
        ({"text_tokens": []}, r"--text-tokens : give positive"),
        ({"batch": 0}, r"--batch 0: give positive"),
        ({"time_limit": 0.0}, r"--time-limit 0: give a positive"),
        ({"time_limit": float("nan")}, r"--time-limit nan: give a positive"),
        ({"audio_tokens": [8200]}, r"plits and decoding take 8219 positions, and tiny has 8192"),
        ({"integrations": ["la"]}, r"no cost is known of 'la'\. Did you mean 'lal'\?"),
        ({"integrations": ["lal:qformer"]}, r"--integrations lal:qformer: .*lal has shared, per_layer"),
        ({"encoders": ["logmell"]}, r"No encoder is named 'logmell'"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(changes, message):
    """Sizes, positions and names are checked for the whole grid."""
    asked = {"integrations": ["lal"]} | SMALL | changes
    with pytest.raises(UsageError, match=message):
        plan_grid(["tiny"], **asked)


def test_integrations_that_need_more_layers_are_left_out_unless_named():
    """`tiny` has two layers, and pal@v1 begins with the fifth."""
    assert "pal@v1" not in {way.name for way in plan_grid(["tiny"], integrations=None, **SMALL).ways}
    assert "pal@v1" in {way.name for way in plan_grid(["SmolLM2-135M"], integrations=None, **SMALL).ways}
    with pytest.raises(PalprobeError, match="layers 0 to 1"):
        plan_grid(["tiny"], integrations=["pal@v1"], **SMALL)


def test_batches_shrink_with_the_tokens():
    """Four clips, or as many as 4096 rows of audio and text hold, and at least one."""
    assert [batch_of(64, 64), batch_of(960, 64), batch_of(1500, 64), batch_of(9000, 1)] == [4, 4, 2, 1]


# --- what a cell does


def small_job(way, **changes):
    from palprobe.bench.shapes import find_shape

    job = Job("llm", 30, 2, "cpu", way, dict(find_shape("tiny").config), 12, 4, new_tokens=2, dim=16)
    return replace(job, **changes)


def test_a_cell_measures_a_step_and_decoding():
    """Seconds and bytes are there and positive; LAL keeps less for the backward pass than PLITS."""
    saved = {}
    for way in ("plits", "lal"):
        cell = LLMCell(small_job(way))
        prepared = cell.prepare()
        saved[way] = prepared["saved_bytes"]
        assert prepared["peak_bytes"] > prepared["step_bytes"] >= 0
        assert cell.train()["train_seconds"] > 0
        inference = cell.infer()
        assert inference["prefill_seconds"] > 0 and inference["decode_seconds"] > 0
    assert saved["lal"] < saved["plits"]


def test_a_step_trains_the_integration_and_nothing_else():
    """After a step the connector has moved and the frozen LLM has not."""
    cell = LLMCell(small_job("lal"))
    before = [[p.clone() for p in module.parameters()] for module in (cell.integration, cell.llm)]
    cell.train()
    after = [list(module.parameters()) for module in (cell.integration, cell.llm)]
    assert any(not torch.equal(one, other) for one, other in zip(before[0], after[0], strict=True))
    assert all(torch.equal(one, other) for one, other in zip(before[1], after[1], strict=True))


def test_saved_bytes_by_hand():
    """(x · w)² keeps x, and the product, once each: 40 + 40 bytes; w is a parameter."""
    w = torch.nn.Parameter(torch.ones(10))
    x = torch.ones(10)
    saved = SavedBytes([w])
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
        product = x * w
        (product.square() + product.square()).sum().backward()
    assert saved.total == 80


def test_an_encoder_hears_clips_as_long_as_its_tokens():
    """50 tokens of log-mel at 25 Hz are two seconds."""
    cell = EncoderCell(Job("encoder", 50, 3, "cpu", encoder="logmel"))
    assert cell.prepare() == {"audio_seconds": 2.0}
    assert [len(waveform) for waveform in cell.waveforms] == [32_000] * 3
    assert cell.encode()["encode_seconds"] > 0


def test_audio_rows_apart_are_a_mask_on_the_diagonal():
    """PLITS in the mode equals PLITS under a mask in which audio rows see themselves alone; and it is not PLITS."""
    from small_llms import HIDDEN, random_audio, shown, small_llm, text_of

    from palprobe.llm.attention import additive_mask

    llm, text = small_llm(), text_of("tone", "beep")
    context = shown("plits", list(random_audio(2, 5, HIDDEN)))
    layout = llm._lay_out(text, context)
    rows = layout.rows.shape[1]
    visible = torch.ones(rows, rows, dtype=torch.bool).tril()
    visible[:5, :5] = torch.eye(5, dtype=torch.bool)
    with torch.no_grad():
        mask = additive_mask(visible.expand(2, -1, -1), llm._groups, torch.float64)
        expected = llm._call(layout.rows, mask, layout.positions, None, 4)
        plain = llm(text, context)
        with AudioApart(4):
            found = llm(text, context)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert (found - plain).abs().max() > 1e-3


# --- what people see


def test_reports_hold_every_cell(log, tmp_path):
    """The CSV reads back; tables have a row per cell; the saving is told in words; failures are listed."""
    rows = measured(["lal", "flamingo"], encoders=["logmel"])
    read = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert tuple(read[0]) == COLUMNS
    assert [row["integration"] for row in read if not row["encoder"]] == ["plits", "lal", "flamingo", "plits-apart"]
    assert float(next(row for row in read if row["integration"] == "lal")["train_speedup"]) == 4.0
    training, inference, system = cost_tables(rows)
    assert [row[3] for row in training.rows] == ["plits", "lal", "flamingo", "plits-apart"]
    assert [row[3] for row in inference.rows] == ["plits", "lal", "flamingo"]
    assert [row[4] for row in system.rows] == ["plits", "lal"]
    assert training.rows[1][4:7] == ("4000", "4", f"{rows[2].train_bound:.3g}")
    (line,) = split_lines(rows)
    assert "audio-audio attention; of the seconds 50%." in line
    page = markdown_costs(rows)
    assert "flamingo, 4 × 20 audio and 10 text tokens: failed: its process was ended by signal 9" in page


def test_the_plot_is_the_same_bytes_for_the_same_rows(log):
    """One curve measured and one counted for each length of the text, in a panel per LLM and integration."""
    rows = measured(["lal", "pal@v3"], audio_tokens=[20, 40])
    assert speedup_svg(rows) == speedup_svg(rows)
    assert "audio tokens" in speedup_svg(rows)
    assert speedup_svg([replace(row, train_speedup=None) for row in rows])
    assert speedup_svg([])


@pytest.mark.parametrize(
    ("names", "code", "error"),
    [("lal", 0, ""), ("lal,flamingo", 3, "palprobe: tiny, flamingo, 4 × 20"), ("pal@v3", 3, "")],
)
def test_the_command_prints_writes_and_says_what_failed(log, tmp_path, names, code, error):
    """CSV on stdout and in the folder; exit code 3 where some cells failed, with a line for each."""
    words = ["bench", "--llm", "tiny", "--audio-tokens", "20", "--text-tokens", "10", "--integrations", names]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--format", "csv"])
    assert done.exit_code == code, done.output
    assert done.stdout == (tmp_path / "out" / "cost.csv").read_text()
    assert error in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"cost.csv", "cost.md", "speedup.svg"}


@pytest.mark.slow
def test_a_real_process_measures_a_real_cell():
    """One LLM cell of each kind and an encoder, in processes of their own."""
    rows = by_name(measured(["lal"], encoders=["logmel"], batch=1))
    assert all(row.measured for row in rows.values())
    lal = rows["lal", "logmel"]
    assert lal.train_seconds > 0 and lal.decode_seconds > 0 and lal.encode_seconds > 0
    assert lal.audio_seconds == 0.8
    assert lal.cache_bytes == 2 * 2 * 128 * (20 + 10) * 4  # layers, keys and values, width, positions, bytes
    assert lal.peak_memory_bytes > 100 << 20  # torch alone


def test_every_column_is_explained():
    """results/README.md has a table row for each column of cost.csv."""
    text = (Path(__file__).parents[1] / "results" / "README.md").read_text()
    table = text.split("## Columns of cost.csv")[1]
    assert [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")] == list(COLUMNS)
