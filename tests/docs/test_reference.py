"""The reference of keys and the schemas of editors are what the models say now, and say all of it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from docs import generate, rooms
from harness.config.yaml_file import read_yaml
from tests.house.test_layers import ROOMS

KEYS = [
    pytest.param(page, kind, name, id=f"{page.name}-{kind.__name__}-{name}")
    for page in generate.PAGES
    for kind, names in generate.sections(page).items()
    for name in names
]
FILES = [
    pytest.param(page, path, id=path.name) for page in generate.PAGES if page.schema for path in generate.files_of(page)
]


def test_what_stands_there_is_what_make_docs_writes():
    written = generate.written()
    stale = [path.name for path, text in written.items() if not path.exists() or path.read_text("utf-8") != text]
    assert stale == [], "run `make docs`"
    reference = {path for path in written if path.parent == generate.REFERENCE}
    assert set(generate.REFERENCE.iterdir()) == reference


@pytest.mark.slow
def test_a_page_that_is_stale_is_found(monkeypatch: pytest.MonkeyPatch):
    before = generate.written()
    monkeypatch.setitem(generate.UNITS, "limit", "pieces")
    assert {path.name for path, text in generate.written().items() if text != before[path]} == {"run.md"}


def test_every_room_and_module_says_what_it_is():
    for room in rooms.ROOMS:
        for folder in rooms.folders(room):
            assert rooms.docstring(folder / "__init__.py"), folder
            said = {path.name: rooms.docstring(path).partition("\n")[0] for path in sorted(folder.glob("*.py"))}
            assert all(said.values()), said
            assert len(set(said.values())) == len(said), f"two modules of {folder.name} say the same of themselves"


def test_the_rooms_stand_in_the_order_of_imports():
    assert [name for names in ROOMS for name in names if (rooms.PACKAGE / name).is_dir()] == list(rooms.ROOMS)


@pytest.mark.parametrize("page, kind, name", KEYS)
def test_every_key_has_a_meaning_an_example_and_a_number_its_unit(page, kind, name):
    assert generate.meaning(kind, name), "say behind the field what it is"
    assert generate.example(page, kind, name), "show it in a file of docs/examples"
    generate.unit(kind, name)


def test_every_unit_is_one_of_a_key():
    numbers = {
        generate.key_of(kind, name)
        for page in generate.PAGES
        for kind, names in generate.sections(page).items()
        for name in names
        if generate.numbers_in(kind.model_fields[name].annotation)
    }
    assert set(generate.UNITS) == numbers


@pytest.mark.parametrize("page, path", FILES)
def test_a_file_that_the_harness_reads_fits_its_schema(page, path: Path):
    jsonschema.validate(read_yaml(path).data, generate.schema_of(page))


@pytest.mark.parametrize(
    "name, text, told",
    [
        ("task", "{task: t, kind: generate, prompt: a, answer: b, data: {file: a.csv}, choics: 1}", "choics"),
        ("task", "{task: t, kind: cloze, prompt: a, answer: b, data: {file: a.csv}, max_tokens: 1}", "max_tokens"),
        ("run", "{run: r, models: [{name: m, path: p, quantisation: 4bit}]}", "not valid under any"),
        ("run", "{run: r, models: [{name: m, backend: scripted, dtype: fp16}]}", "not valid under any"),
        ("machine", "{name: m, source: s, date: '2026-01-01', rented: {per_hour: -1}}", "-1"),
        ("policy", "{policy: p, remote_code: maybe}", "maybe"),
    ],
)
def test_a_mistake_is_seen_while_it_is_typed(name: str, text: str, told: str):
    page = next(page for page in generate.PAGES if page.name == name)
    with pytest.raises(jsonschema.ValidationError, match=told):
        jsonschema.validate(yaml.safe_load(text), generate.schema_of(page))


@pytest.mark.parametrize("name", [page.name for page in generate.PAGES if page.schema])
def test_a_schema_is_one(name: str):
    schema = json.loads((generate.REFERENCE / f"{name}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")
