# Every target makes its own virtual environment (.venv) from nothing but Python 3.11+.
#   make demo | test | bench | calls | lint | fuzz | storm | format | clean          PYTHON=python3.12 chooses the interpreter

# The first interpreter that runs and is new enough (a name on PATH may be a shim that does neither).
CANDIDATES := python3 python3.13 python3.12 python3.11
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers

# Tests run on as many processes as there are cores; PYTEST_ARGS="-k name -x" narrows a run.
PYTEST_ARGS ?= -n auto
FUZZ_ARGS ?= --programs 7500 --chains 2500 --bad-input 2000
STORM_ARGS ?= --processes 32 --seconds 60
BENCH_ARGS ?= memory
CALLS_ARGS ?=
DEMO_ARGS ?=

.PHONY: demo test bench calls lint fuzz storm format clean venv
.DEFAULT_GOAL := test

venv: $(READY)

# `venv` needs ensurepip, which some distributions split off: an outer pip can install into an environment without it.
$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "weft needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 2; }
	@rm -f $(READY) $(PEERS)
	$(PYTHON) -m venv --clear $(VENV) || $(PYTHON) -m venv --clear --without-pip $(VENV)
	@if [ -x $(BIN)/pip ]; then $(BIN)/python -m pip install --quiet --editable '.[dev]'; \
	else $(PYTHON) -m pip --python $(BIN)/python install --quiet --editable '.[dev]'; fi
	@mkdir -p $(VENV)/src && ln -sfn '$(CURDIR)' $(VENV)/src/weft
	@touch $@

# The libraries that benchmarks compare against are large; without them the rows have no peers.
$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[bench]' || echo "peers not installed: rows will have none" >&2
	@touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py $(DEMO_ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# What calls and parallel loops cost beside their kernels.
calls: $(READY)
	$(BIN)/python benchmarks/calls.py $(CALLS_ARGS)

bench: $(PEERS)
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

# mypy sees the package as `weft` through a link, whatever the name of the checkout's directory.
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(VENV)/src && '$(abspath $(BIN))/mypy' --strict --config-file '$(CURDIR)/pyproject.toml' $(addprefix -p weft.,ir ops backends compiler autotune settings)

fuzz: $(READY)
	$(BIN)/python tests/fuzz.py $(FUZZ_ARGS)

# Processes on one kernel cache, killed at random.
storm: $(READY)
	$(BIN)/python tests/cache_storm.py $(STORM_ARGS)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-output build dist weft.egg-info
