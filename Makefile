# `make run` and `make test` need nothing but Python 3.11 or newer: both set up .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SET_UP := $(VENV)/.set-up
TORCH := torch==2.13.0
# A file of tests is one process's: some make what all of them use. One thread each, or processes would wait for each other's.
TESTS = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile
CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: help run test check setup clean

help: ## these lines
	@sed -n 's/^\([a-z]*\):[^#]*## /make \1	/p' $(MAKEFILE_LIST)

run: $(SET_UP) ## decode three prompts with the embedded model under the policy `threshold`
	$(BIN)/dsldec run --policy threshold --no-live \
	  "Ned collects 11 stones. Ned buys 14 more stones. Ned gives 6 to Mia. How many stones does Ned have now?" \
	  "Eva has 14 candles. Rob has 5 more candles than Eva. How many candles do they have together?" \
	  "Solve this sudoku: 1030 0004 4000 0201"

test: $(SET_UP) ## the tests, less those marked slow
	$(TESTS)

check: $(SET_UP) ## format, lint, types, policies and their cases, import arrows, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/dsldec fmt --check policies/
	$(BIN)/dsldec test $$(ls policies/*.policy)
	$(BIN)/python -m pytest tests/test_architecture.py
	$(TESTS)

setup: $(SET_UP) ## .venv with dsldec and its tools; again when pyproject.toml has changed

clean: ## delete .venv, caches and built packages
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Without a GPU the CPU build of torch is enough, and smaller by gigabytes. The short time limits are for machines that
# cannot reach its index: these go on with what their own index has. --no-deps: the rest comes below, with patience.
$(SET_UP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "dsldec needs Python 3.11 or newer, and \`$(PYTHON)\` is not: type \`make PYTHON=/path/to/python3.11 $(or $(MAKECMDGOALS),setup)\`" >&2; \
	  exit 1; }
	@echo "setting up $(VENV): some minutes the first time"
	$(PYTHON) -m venv $(VENV)
	@if ! nvidia-smi -L >/dev/null 2>&1; then \
	  echo "no NVIDIA GPU found: installing the CPU build of torch"; \
	  $(BIN)/pip install -q --disable-pip-version-check --no-deps --retries 1 --timeout 10 --extra-index-url $(CPU_INDEX) "$(TORCH)" \
	    || $(BIN)/pip install -q --disable-pip-version-check "$(TORCH)"; \
	fi
	$(BIN)/pip install -q --disable-pip-version-check -e ".[dev]"
	@touch $@
