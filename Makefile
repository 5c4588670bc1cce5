# `make demo`: install, then the whole job on built-in parts.  `make test`: install, then every check.
# Both need Python 3.11 or newer and make; the environment goes into .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test fast check clean

demo: $(STAMP)
	$(BIN)/palprobe compare --recipe recipes/demo.yaml --format table

test: check
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fast: check
	$(BIN)/python -m pytest -m "not slow"

# torch and torchaudio first and by version: a range would let pip begin with a newer torch.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet torch==2.11.0 torchaudio==2.11.0
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
