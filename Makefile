# Everything starts here: each target makes .venv first, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

# One thread per worker: OpenMP threads of several workers would wait for each other. Compiled modules
# are kept, even where the environment says otherwise, for the many processes that tests start. A file
# stays with one worker: its fixtures train networks, which two workers would train twice. The files
# start in the order of tests/conftest.py, the longest first.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest \
	-n auto --dist loadfile --no-loadscope-reorder

# Tests of tables, pages and figures, which `make check` runs without PyTorch, MLflow and Optuna.
LIGHT := tests/leaderboard tests/report

.PHONY: help quickstart test test-fast test-slow torture check

help:
	@echo "make quickstart   install, run studies/quickstart.yaml, print its leaderboard"
	@echo "make test         install, run the tests"
	@echo "make test-fast    the tests that neither train, start processes nor sweep all methods: a minute"
	@echo "make test-slow    all tests, those that take minutes as well"
	@echo "make torture      kills, corruptions, hostile studies, outages, sick cells: 35 minutes"
	@echo "make check        lint, format, types, import contracts, tests: what a change must pass"

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("kdbench needs Python 3.11 or later: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

quickstart: .venv/installed
	$(BIN)/kdbench run studies/quickstart.yaml

test: .venv/installed
	$(PYTEST) -m "not slow"

# Files that would be left out as a whole are not even collected: that takes seconds.
test-fast: .venv/installed
	$(PYTEST) -m "not (slow or broad or trains or mlflow or subprocess or browser or network or gpu)" \
		--ignore=tests/methods/test_conformance.py --ignore-glob="tests/methods/test_oracle_*" \
		--ignore=tests/report/figures --ignore=tests/system

test-slow: .venv/installed
	$(PYTEST)

torture: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture

check: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "not slow" -p tests.support.no_heavy $(LIGHT)
	$(PYTEST) -m "not slow" $(addprefix --ignore=,$(LIGHT))
