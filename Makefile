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

.PHONY: help setup bench gate test soak lint format baseline calibrate lock clean

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

# Uncommitted work is judged against HEAD, and committed work against where it left main.
AGAINST ?= $(if $(shell git status --porcelain),HEAD,$(shell git merge-base origin/main HEAD))

gate: $(READY)  ## is anything slower than at AGAINST (default: HEAD, or where a clean tree left origin/main)?
	@mkdir -p $(RESULTS)
	$(BIN)/python -m pytest benchmarks --against=$(AGAINST) --gate-report=$(RESULTS)/gate.md --gate-json=$(RESULTS)/gate.json --junit-xml=$(RESULTS)/gate.xml $(ARGS)

test: $(READY)  ## everything that is checked and not timed
	@mkdir -p $(RESULTS)
	$(BIN)/python -m pytest --benchmark-skip --junit-xml=$(RESULTS)/test.xml $(ARGS)
	@echo "results: $(RESULTS)/test.xml"

soak: $(READY)  ## the serving case under 60 s of overload, 10,000 spoiled requests and 32 clients, some minutes
	$(BIN)/python -m tests.serving.soak $(ARGS)

# The workflow linters see only the files' text, and need no network: what they cannot know is in tests/test_workflows.py.
lint: $(READY)  ## ruff, mypy, and the workflows' linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --pedantic --strict-collection --no-progress --quiet .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

format: $(READY)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

baseline: $(READY)  ## save a run into benchmarks/baselines/, to be committed
	$(BIN)/python -m pytest benchmarks --benchmark-save=$(shell git rev-parse --short HEAD) $(ARGS)

calibrate: $(READY)  ## the gate's error rates and power, measured on this machine beside three noisy neighbours
	@mkdir -p $(RESULTS)
	$(BIN)/python -m benchmarks.gate.calibration.calibrate --output $(RESULTS)/calibration.md --json $(RESULTS)/calibration.json $(ARGS)

lock: $(READY)  ## pin anew, for every supported Python, without addresses
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.lock

clean:  ## remove the environment and the results
	rm -rf $(VENV) $(RESULTS)
