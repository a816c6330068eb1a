# make tune | test | test-long | test-docs | test-hosts | docs | lint | bench: each sets up all that it needs first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
LIBRARIES := .venv/.libraries
LONG := tests/packaging tests/ray/test_curves.py tests/ray/test_faults.py tests/ray/test_features.py tests/ray/workers
SAMPLES := $(wildcard ../shared/data)

# Real samples beside the checkout, for the tests that need them; see README, "Data".
ifneq ($(SAMPLES),)
export RAYSWEEP_DATA ?= $(abspath $(SAMPLES))
endif

.PHONY: tune test test-long test-docs test-hosts docs lint format bench bench-quick bench-check rivals install clean

tune: $(READY)
	$(BIN)/raysweep tune matrix_factorization l2 embedding_size --num-samples 40

test: $(LIBRARIES)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit
	$(BIN)/python -m pytest tests/ray tests/browser $(LONG:%=--ignore=%)

# What takes as long again: packages that are installed, jobs and workers that are killed.
test-long: $(LIBRARIES)
	$(BIN)/python -m pytest $(LONG)

# Runs every command that the pages print.
test-docs: $(LIBRARIES)
	$(BIN)/python -m pytest tests/docs

test-hosts: $(READY)
	$(BIN)/python -m pytest tests/cluster

# The site, into site/; `.venv/bin/mkdocs serve` shows it while you write.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo 'site/ is built. See it with: $(BIN)/python -m http.server --directory site'

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) rivals
	$(BIN)/python -m benchmarks.everything

bench-quick: $(READY) rivals
	$(BIN)/python -m benchmarks.everything --quick

bench-check: $(READY) rivals
	$(BIN)/python -m benchmarks.table --quick --check

# What the benchmarks compare with, apart from our own environment.
rivals: .venv-rivals/.ready

.venv-rivals/.ready: benchmarks/rivals.txt
	$(PYTHON) -m venv .venv-rivals
# SMAC3's forest comes as source: building it takes SWIG on the path, and a compiler of C++.
	.venv-rivals/bin/python -m pip install --quiet setuptools wheel $$(grep '^swig==' $<)
	PATH="$(CURDIR)/.venv-rivals/bin:$$PATH" .venv-rivals/bin/python -m pip install --quiet \
		--no-build-isolation $$(grep '^pyrfr==' $<)
	.venv-rivals/bin/python -m pip install --quiet -r $<
	touch $@

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo 'Setting up .venv: about 6 GB, most of it PyTorch; a few minutes on a fast connection …'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# Libraries that people train with, which the tests search with.
$(LIBRARIES): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[libraries]'
	touch $@

clean:
	rm -rf .venv .venv-rivals build site *.egg-info .pytest_cache .mypy_cache .ruff_cache
