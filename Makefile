# make quickstart   install, run the demo, print the table
# make test         the whole suite, from nothing
# make quick        its quick part, for while you work: under a minute on two quiet cores
# make lint types   what ruff and mypy say
# make docs         docs/reference and docs/rooms.md, from the code
# make newest       the quick part with the newest releases that pyproject.toml allows
PYTHON ?= python3
BIN := .venv/bin
NEWEST := .venv-newest
INSTALL := -m pip install --quiet --disable-pip-version-check

.PHONY: quickstart test quick lint types docs newest clean

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

newest: $(NEWEST)/tested
	$(NEWEST)/bin/python -m pytest -n 2 --dist worksteal -m "not slow"

.venv/installed: pyproject.toml constraints.txt
	@echo "installing into .venv (a minute or more, mostly torch) ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable .
	touch $@

.venv/tested: .venv/installed
	@echo "installing what the tests need ..."
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable '.[test]'
	touch $@

# torch alone is as pinned: another release of it is gigabytes.
$(NEWEST)/tested: pyproject.toml constraints.txt
	@echo "installing the newest releases into $(NEWEST) ..."
	$(PYTHON) -m venv $(NEWEST)
	grep '^torch==' constraints.txt > $(NEWEST)/constraints.txt
	$(NEWEST)/bin/python $(INSTALL) --upgrade --upgrade-strategy eager --constraint $(NEWEST)/constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv $(NEWEST) build dist
