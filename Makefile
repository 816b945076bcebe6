# make quickstart   install, run the demo, print the table
# make test         the whole suite, from nothing
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test lint clean

quickstart: .venv/installed
	$(BIN)/harness run quickstart

test: .venv/tested
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/tested
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

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
