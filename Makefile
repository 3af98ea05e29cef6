# Needs make and Python 3.10 or newer; everything else is installed into .venv.
# Another Python: make demo PYTHON=python3.12. Arguments of the demo: make demo ARGS="--bags 5".

PYTHON ?= python3
ARGS   ?=

VENV := .venv
BIN  := $(VENV)/bin
# Errors stay visible, the list of every package does not.
PIP  := $(BIN)/python -m pip --disable-pip-version-check install -qq

DEMO_EXTRAS := cpu,report
TEST_EXTRAS := cpu,report,signing,export,tensorrt-rtx,control

# A stamp is newer than pyproject.toml when the environment holds what it asks for.
PIP_READY  := $(VENV)/.pip-ready
DEMO_READY := $(VENV)/.demo-ready
TEST_READY := $(VENV)/.test-ready

# The tests of training have a process of their own: behind all the native libraries that the other
# tests load (engines, buses, toolkits), the first of test_run.py ended in a segmentation fault.
ALL_BUT_TRAINING := --ignore=tests/xedge/train

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint format bench libxedge clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(DEMO_READY)  ## screen simulated bags on a simulated belt and write demo/report.html
	@$(BIN)/xedge demo --out demo $(ARGS)

test: lint  ## lint, types, imports, and the tests of the everyday tier
	@$(BIN)/python -m pytest -m "not full" $(ALL_BUT_TRAINING)
	@$(BIN)/python -m pytest -m "not full" tests/xedge/train

test-all: lint  ## the same with the full tier
	@$(BIN)/python -m pytest $(ALL_BUT_TRAINING)
	@$(BIN)/python -m pytest tests/xedge/train

lint: $(TEST_READY)  ## ruff, mypy and import-linter
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

format: $(TEST_READY)  ## rewrite the sources as ruff wants them
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

bench: $(TEST_READY)  ## every benchmark, small, within ten minutes; scratch records when the tree is dirty
	@scratch=; [ -z "$$(git status --porcelain -- . ':(exclude)benchmarks/results')" ] || scratch=--scratch; \
	$(BIN)/xedge bench all --quick $$scratch

libxedge: $(TEST_READY)  ## build the C library and run its tests (needs cmake, gcc; see cmake/README.md)
	@cd cmake && cmake --preset default -DXEDGE_PYTHON=$(CURDIR)/$(BIN)/python && \
	cmake --build --preset default && ctest --preset default

clean:  ## remove what builds, tests and demos left behind
	@rm -rf build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find xedge export calibration benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## the same, and the virtual environment
	@rm -rf $(VENV) *.egg-info

$(PIP_READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "xedge needs Python 3.10 or newer: expected it as '$(PYTHON)', found" \
	    "$$($(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null || echo none)." \
	    "Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: its modules venv and ensurepip are missing." \
	    "Install them (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@[ -x $(BIN)/python ] || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(DEMO_READY): pyproject.toml $(PIP_READY)
	@echo "installing xedge[$(DEMO_EXTRAS)] into $(VENV)"
	@$(PIP) --editable '.[$(DEMO_EXTRAS)]'
	@touch $@

$(TEST_READY): pyproject.toml $(PIP_READY)
	@echo "installing xedge[$(TEST_EXTRAS)] and the tools of the tests into $(VENV): minutes, about 7 GB"
	@$(PIP) --editable '.[$(TEST_EXTRAS)]' --group lint --group test
	@touch $@ $(DEMO_READY)
