# Everything starts here: each target makes .venv first, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help quickstart test test-slow check

help:
	@echo "make quickstart   install, run studies/quickstart.yaml, print its leaderboard"
	@echo "make test         install, run the tests"
	@echo "make test-slow    the tests that take minutes as well"
	@echo "make check        lint, format, types, tests: what a change must pass"

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("kdbench needs Python 3.11 or later: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

quickstart: .venv/installed
	$(BIN)/kdbench run studies/quickstart.yaml

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/installed
	$(BIN)/python -m pytest

check: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow"
