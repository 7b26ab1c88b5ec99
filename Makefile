# Each target does its own set-up: it makes a new environment only when the lock or pyproject.toml has changed.
.DEFAULT_GOAL := help
SHELL := bash
# Tests and comparisons start hundreds of processes, and without bytecode each compiles torch's and pytest's sources anew.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RESULTS := .results
EXTRAS ?= cases dev peers ray report
UV_VERSION := 0.13.9

.PHONY: help setup bench gate comment bisect history test threads soak lint format baseline calibrate corpus case readme lock clean

help:  ## this text
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## the environment in .venv, pinned by requirements.lock

# The lock constrains versions and installs nothing by itself, so with UV_TORCH_BACKEND=cpu no CUDA package is installed.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, and $(PYTHON) is {v.major}.{v.minor}. Try make PYTHON=python3.12.")'
	@echo "setting up $(VENV) (takes minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r pyproject.toml $(EXTRAS:%=--extra %) -c requirements.lock
	@touch $@

bench: $(READY)  ## the main job: every case's table, ratios with intervals, verdicts against the saved run (FULL=1: full sizes, peers)
	@mkdir -p $(RESULTS)
	$(BIN)/python -m pytest benchmarks --benchmark-compare --benchmark-json=$(RESULTS)/bench.json --gate-report=$(RESULTS)/bench.md --gate-json=$(RESULTS)/report.json --gate-html=$(RESULTS)/report.html $(if $(FULL),--full) $(ARGS)

# New commits, with whatever is uncommitted beside them, are compared with the merge base of main; uncommitted work alone
# with HEAD. Nothing new is an error: a commit that is compared with itself is always the same.
AGAINST ?= $(shell head=$$(git rev-parse HEAD) && base=$$(git merge-base origin/main HEAD 2>/dev/null || echo $$head); \
	if [ "$$base" != "$$head" ]; then echo $$base; elif [ -n "$$(git status --porcelain)" ]; then echo HEAD; fi)

gate: $(READY)  ## is anything slower than at AGAINST (default: the merge base of origin/main; without new commits, HEAD)?
	@test -n "$(AGAINST)" || { echo "make gate: nothing is new since origin/main, and nothing is uncommitted. Name what to compare with: make gate AGAINST=REV" >&2; exit 2; }
	@mkdir -p $(RESULTS)
	$(BIN)/python -m pytest benchmarks --against=$(AGAINST) --gate-report=$(RESULTS)/gate.md --gate-json=$(RESULTS)/gate.json --gate-html=$(RESULTS)/report.html --junit-xml=$(RESULTS)/gate.xml $(ARGS)

GATE_JSON ?= $(RESULTS)/gate.json

# Without $(READY): it takes the standard library alone, and in CI a job that may write installs nothing.
comment:  ## the pull request's comment on the last `make gate`: printed here, and posted by .github/workflows/comment.yml
	@$(PYTHON) -m benchmarks.gate.report.comment.post "$(GATE_JSON)"

bisect: $(READY)  ## which commit made it slower: make bisect GOOD=REV BAD=REV [TEST=ID-or-k-expression]
	@test -n "$(GOOD)" && test -n "$(BAD)" || { echo "make bisect: name both ends: make bisect GOOD=REV BAD=REV [TEST=ID-or-k-expression]" >&2; exit 2; }
	$(BIN)/python -m benchmarks.gate.compare.bisect "$(GOOD)" "$(BAD)" --collect benchmarks $(if $(TEST),--test '$(TEST)') $(ARGS)

# Over the committed runs, the last `make bench`, and what KEEP=1 added to .benchmarks (which CI has in a cache).
history: $(READY)  ## each ratio over the saved runs of like machines, with change points: .results/history.html
	@mkdir -p $(RESULTS)
	$(BIN)/python -m benchmarks.gate.report.history --storage benchmarks/baselines $(addprefix --storage ,$(wildcard .benchmarks)) $(addprefix --json ,$(wildcard $(RESULTS)/bench.json)) $(if $(KEEP),--keep .benchmarks) --output $(RESULTS)/history.html $(ARGS)

# Each file of tests has one of two processes, so that what the file shares is built once; tests marked `serial` follow,
# one at a time. With ARGS a single process runs all that they select.
# A test that hangs for 15 minutes ends its process, with the stacks of all threads.
RUN_TESTS := $(BIN)/python -m pytest --benchmark-skip -o faulthandler_timeout=900 -o faulthandler_exit_on_timeout=true
test: $(READY)  ## the tests: everything that is checked and not timed
	@mkdir -p $(RESULTS)
ifdef ARGS
	$(RUN_TESTS) --junit-xml=$(RESULTS)/test.xml $(ARGS)
else
	$(RUN_TESTS) benchmarks tests -m "not serial" --numprocesses=auto --dist=loadfile --no-loadscope-reorder --junit-xml=$(RESULTS)/test.xml
	$(RUN_TESTS) -m serial --junit-xml=$(RESULTS)/test-serial.xml
endif
	@echo "results: $(RESULTS)/"

# In an environment of its own, with what the counter needs. frontrun, which explores the interleavings, has no wheel for a
# free-threaded CPython.
THREADS_VENV := .venv-threads
threads:  ## the counter without the GIL, each test on several threads at once, and how it scales: make threads PYTHON=python3.14t
	@$(PYTHON) -c 'import sys; sys.exit("make threads: $(PYTHON) has the GIL. Name a free-threaded CPython: make threads PYTHON=python3.14t" if getattr(sys, "_is_gil_enabled", lambda: True)() else 0)'
	@$(MAKE) --no-print-directory setup VENV=$(THREADS_VENV) EXTRAS=threads
	@mkdir -p $(RESULTS)
	$(THREADS_VENV)/bin/python -m pytest tests/counter --ignore=tests/counter/test_interleavings.py --benchmark-skip --parallel-threads=4 --junit-xml=$(RESULTS)/threads.xml $(ARGS)
	$(THREADS_VENV)/bin/python -m pytest benchmarks/test_counter.py -k test_scaling --full --benchmark-json=$(RESULTS)/threads.json

soak: $(READY)  ## the serving case under 60 s of overload, 10,000 malformed requests and 32 clients; takes minutes
	$(BIN)/python -m tests.serving.soak $(ARGS)

# The workflow linters read only the files and need no network. tests/test_workflows.py checks what they cannot.
lint: $(READY)  ## ruff, mypy, the walls between packages, declared dependencies, workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/zizmor --offline --pedantic --strict-collection --no-progress --quiet .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

format: $(READY)  ## have ruff fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

baseline: $(READY)  ## save a run in benchmarks/baselines/, to be committed
	$(BIN)/python -m pytest benchmarks --benchmark-save=$(shell git rev-parse --short HEAD) --full $(ARGS)

calibrate: $(READY)  ## the gate's error rates and power, measured on this machine beside three noisy neighbours
	@mkdir -p $(RESULTS)
	$(BIN)/python -m benchmarks.gate.calibration --select "test_revision[optimised]" --output $(RESULTS)/calibration.md --json $(RESULTS)/calibration.json $(ARGS)

corpus: $(READY)  ## regressions that look real, each in a clone: which of them `make gate` names; takes minutes for each
	@mkdir -p $(RESULTS)
	$(BIN)/python -m tests.gate.corpus --json $(RESULTS)/corpus.json $(ARGS)

case: $(READY)  ## a case of your own: make case NAME=mine writes impl/mine/ and benchmarks/test_mine.py, which pass
	@test -n "$(NAME)" || { echo "make case: name it: make case NAME=mine" >&2; exit 2; }
	@$(BIN)/python -m benchmarks.new_case "$(NAME)"

readme: $(READY)  ## README's tables and example, and the pictures in docs/, from the committed run that benchmarks/readme names
	$(BIN)/python -m benchmarks.readme $(ARGS)

lock: $(READY)  ## update the pinned versions, for every supported Python, without addresses
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.lock

clean:  ## remove the environment and the results
	rm -rf $(VENV) $(THREADS_VENV) $(RESULTS)
