# make tune | make test | make lint | make bench: each sets up all that it needs first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SAMPLES := $(wildcard ../shared/data)

# Real samples beside the checkout, for the tests that need them; see README, "Data".
ifneq ($(SAMPLES),)
export RAYSWEEP_DATA ?= $(abspath $(SAMPLES))
endif

.PHONY: tune test lint format bench install clean

tune: $(READY)
	$(BIN)/raysweep tune matrix_factorization l2 embedding_size --num-samples 40

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m benchmarks.ratings_search

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo 'Setting up .venv: about 6 GB, most of it PyTorch; a few minutes on a fast connection …'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
