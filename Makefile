# make quickstart   install, run the demo, print the table
# make test         the whole suite, from nothing
# make quick        its quick part, for while you work: under a minute on two quiet cores
# make lint types   what ruff and mypy say
# make docs         the reference in docs/, from the classes that check files
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test quick lint types docs clean

quickstart: .venv/installed
	$(BIN)/harness run quickstart

test: .venv/tested
	$(BIN)/python -m pytest -n 2 --dist worksteal

quick: .venv/tested
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

lint: .venv/tested
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/tested
	$(BIN)/mypy

docs: .venv/tested
	$(BIN)/python -m docs.generate

.venv/installed: pyproject.toml constraints.txt
	@echo "installing into .venv (a minute or more, mostly torch) ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/tested: .venv/installed
	@echo "installing what the tests need ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv build dist
