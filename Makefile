# Every target sets itself up: the environment is made anew only when the lock or pyproject.toml changes.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RESULTS := .results
EXTRAS ?= dev peers
UV_VERSION := 0.13.9

.PHONY: help setup bench test soak lint format baseline lock clean

help:  ## this text
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## the environment in .venv, pinned by requirements.lock

# The lock is a constraint and not a list to install: with UV_TORCH_BACKEND=cpu torch needs no CUDA packages, and none come.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed; $(PYTHON) is {v.major}.{v.minor}. Say make PYTHON=python3.12, for example.")'
	@echo "setting up $(VENV) (some minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r pyproject.toml $(EXTRAS:%=--extra %) -c requirements.lock
	@touch $@

bench: $(READY)  ## the main job: every case's table, ratios with intervals, verdicts against the saved baselines
	@mkdir -p $(RESULTS)
	$(BIN)/python -m pytest benchmarks --benchmark-compare --benchmark-json=$(RESULTS)/bench.json --gate-report=$(RESULTS)/bench.md $(ARGS)

test: $(READY)  ## everything that is checked and not timed
	@mkdir -p $(RESULTS)
	$(BIN)/python -m pytest --benchmark-skip --junit-xml=$(RESULTS)/test.xml $(ARGS)
	@echo "results: $(RESULTS)/test.xml"

soak: $(READY)  ## the serving case under 60 s of overload, 10,000 spoiled requests and 32 clients, some minutes
	$(BIN)/python -m tests.serving.soak $(ARGS)

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

baseline: $(READY)  ## save a run into benchmarks/baselines/, to be committed
	$(BIN)/python -m pytest benchmarks --benchmark-save=$(shell git rev-parse --short HEAD) $(ARGS)

lock: $(READY)  ## pin anew, for every supported Python, without addresses
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.lock

clean:  ## remove the environment and the results
	rm -rf $(VENV) $(RESULTS)
