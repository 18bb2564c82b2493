# `make run` and `make test` need nothing but Python 3.11 or newer: both set up .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SET_UP := $(VENV)/.set-up
TORCH := torch==2.13.0
UV_BIN := $(VENV)-uv/bin
UV := $(UV_BIN)/uv
# The oldest and the newest Python that dsldec is tested with, where this machine has them.
FIRST_THAT_RUNS = $(shell for python in $(1); do $$python -c "" 2>/dev/null && { echo $$python; break; }; done)
OLDEST_PYTHON = $(call FIRST_THAT_RUNS,python3.11 $(PYTHON))
NEWEST_PYTHON = $(call FIRST_THAT_RUNS,python3.13 python3.12 $(PYTHON))
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
GPU_OPTIONS ?= --json gpu.json
SGLANG_PYTHON ?= $(VENV)-sglang/bin/python
FUZZ_SECONDS ?= 3600
# A file of tests is one process's: some make what all of them use. One thread each, or processes would wait for each other's.
PYTEST = -m pytest -n auto --maxprocesses 4 --dist loadfile
TESTS = OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST)
TESTED_IN = $(1)/bin/python -m tests.versions && OMP_NUM_THREADS=1 $(1)/bin/python $(PYTEST)

.PHONY: help run test check lint policies wheel bench-check setup editor lock test-newest test-oldest gpu sglang-test fuzz clean

help: ## these lines
	@sed -n 's/^\([a-z-]*\):[^#]*## /make \1	/p' $(MAKEFILE_LIST)

run: $(SET_UP) ## decode three prompts with the embedded model under the policy `threshold`
	$(BIN)/dsldec run --policy threshold --no-live \
	  "Ned collects 11 stones. Ned buys 14 more stones. Ned gives 6 to Mia. How many stones does Ned have now?" \
	  "Eva has 14 candles. Rob has 5 more candles than Eva. How many candles do they have together?" \
	  "Solve this sudoku: 1030 0004 4000 0201"

test: $(SET_UP) ## the tests, less those marked slow
	$(TESTS)

check: lint policies test wheel ## all that a change must pass, as in `.ci/run`

lint: $(SET_UP) ## format, lint, types, import laws
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

policies: $(SET_UP) ## the policies are formatted, and their cases pass
	$(BIN)/dsldec fmt --check policies/
	$(BIN)/dsldec test policies/*/*.policy

wheel: $(SET_UP) ## build the wheel, and run it in a clean environment
	.ci/wheel $(BIN)/python

# Ratios depend on the machine and its load: no test and no CI job compares them.
bench-check: $(SET_UP) ## measure again, and compare with the ratios in benchmarks/expected.json
	$(BIN)/python benchmarks/check.py

editor: ## bundle the editor of `dsldec play` again, with node and npm
	cd editors/codemirror && npm ci --ignore-scripts --no-audit --no-fund && npm run build

setup: $(SET_UP) ## .venv with dsldec and its tools; again when pyproject.toml has changed

clean: ## delete .venv, caches and built packages
	rm -rf $(VENV) $(VENV)-uv $(VENV)-locks $(VENV)-newest $(VENV)-oldest build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What was measured is what is installed: the lock names every package, so a release of one of them changes nothing here.
$(SET_UP): pyproject.toml locks/measured-cpu.txt locks/measured-cuda.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "dsldec needs Python 3.11 or newer, and \`$(PYTHON)\` is not: type \`make PYTHON=/path/to/python3.11 $(or $(MAKECMDGOALS),setup)\`" >&2; \
	  exit 1; }
	@echo "setting up $(VENV): some minutes the first time"
	locks/install $(PYTHON) $(VENV) locks/measured
	@touch $@

lock: $(UV) ## find the versions of today, and write them into locks/
	locks/make measured $(TORCH) $(UV)
	locks/make oldest $(UV)

$(UV):
	$(PYTHON) -m venv $(VENV)-uv
	$(UV_BIN)/pip install -q --disable-pip-version-check uv

# Fresh environments each time: what is asked is whether someone who installs today gets something that works.
test-newest: $(UV) ## the tests with the newest versions that pyproject.toml allows
	rm -rf $(VENV)-newest $(VENV)-locks && mkdir $(VENV)-locks && locks/make newest $(UV) $(VENV)-locks
	locks/install $(NEWEST_PYTHON) $(VENV)-newest $(VENV)-locks/newest
	$(call TESTED_IN,$(VENV)-newest)

# Runs in the environment at hand: a machine with a GPU may reach no index to install from, and has the torch that fits its driver.
gpu: ## check dsldec on a GPU and measure it there, in at most 7 minutes; without a GPU, check what can be
	$(GPU_PYTHON) -m tests.gpu $(GPU_OPTIONS)

sglang-test: ## test the SGLang plug-in inside the real engine on a CPU, in the environment of docs/sglang-cpu.md
	OMP_NUM_THREADS=1 $(SGLANG_PYTHON) -m pytest -n0 -m slow tests/engines/sglang_server

fuzz: $(SET_UP) ## look for texts that the checker does not stand, for FUZZ_SECONDS
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

test-oldest: ## the tests with the oldest versions that pyproject.toml allows
	rm -rf $(VENV)-oldest
	locks/install $(OLDEST_PYTHON) $(VENV)-oldest locks/oldest
	$(call TESTED_IN,$(VENV)-oldest)
