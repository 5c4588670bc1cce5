"""Memory that runs out is one line on the command line, with what to lower; what was done before is kept."""

import torch
from test_bad_input import palprobe, refused  # noqa: F401 - fixtures

from palprobe.scoring import likelihood
from palprobe.training.probe import Branch

SMALL = ["--fold", "0", "--set", "train.steps=3", "--set", "train.batch_size=4", "--set", "train.checkpoint_steps=2"]


def test_training_and_scoring_without_memory(tones, refused, palprobe, monkeypatch):  # noqa: F811
    """`train` names step, batch, tokens and what to lower, and goes on from its checkpoint; `eval` its batches."""
    palprobe("extract", "--encoder", "logmel", "--data", tones)
    train = ["train", "--encoder", "logmel", "--task", tones, *SMALL]
    forward, calls = Branch.forward, []

    def starving(branch, *arguments):
        calls.append(1)
        if len(calls) == 3:
            torch.empty(1 << 50, dtype=torch.uint8)  # a petabyte: the allocator's own refusal
        return forward(branch, *arguments)

    monkeypatch.setattr(Branch, "forward", starving)
    refused(*train, code=1, texts=[
        "Training stopped at step 3: out of memory on cpu with batch_size 4, up to 15 audio tokens",
        "--set train.accumulate=2", "--set train.checkpointing=true", "--set train.batch_size=2",
    ])  # fmt: skip
    code, run, err = palprobe(*train, "--set", "train.checkpointing=true")
    assert code == 0, err
    assert len(calls) == 4, "two steps were kept, and the third was taken with less memory"

    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(likelihood, "score_tree", exhausted)
    refused("eval", run.strip(), code=1, texts=["Scoring ran out of memory on cpu with batches of 32", "batch_size=8"])
