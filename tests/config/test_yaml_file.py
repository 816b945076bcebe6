"""YAML is read as plain, bounded values with line numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.yaml_file import parse_yaml, read_yaml
from harness.errors import ConfigError

FILE = Path("run.yaml")


def test_plain_words_stay_words():
    text = "a: [no, yes, on, off, y, 2024-01-01, 1:30, 012, 0x1F, .5, 1e3, -2, true, ~, '5']"
    found = parse_yaml(text, FILE).data["a"]
    words = ["no", "yes", "on", "off", "y", "2024-01-01", "1:30", "012", "0x1F"]
    assert found == [*words, 0.5, 1000.0, -2, True, None, "5"]


def test_every_key_has_its_line():
    file = parse_yaml("a: 1\nb:\n  c: 2\n  d: [x,\n    y]\n", FILE)
    assert file.where(("b", "d", 1)) == "run.yaml:5"
    assert file.where(("b", "d", 7)) == "run.yaml:4"  # the nearest parent that stands in the file
    assert file.where(("nowhere",)) == "run.yaml:1"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: 1\na: 2", "key 'a' stands twice"),
        ("a: &x [1]\nb: [*x, *x]", "alias '*x' is not allowed"),
        ("a: !!python/object/apply:os.system [echo]", "tag 'tag:yaml.org,2002:python/object/apply:os.system' is not"),
        ("a: !include other.yaml", "tag '!include' is not allowed"),
        ("[" * 40 + "]" * 40, "nested deeper than 30 levels"),
        ("- 1\n- 2", "not a mapping of keys to values"),
        ("", "not a mapping of keys to values"),
        ("a: [1, 2", "not valid YAML"),
        ("a: \t- x", "not valid YAML"),
        ("? [a, b]\n: 1", "a key is not plain text"),
        ("a: " + "9" * 6000, "not valid YAML"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_line(text: str, what: str):
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, FILE)
    assert what in caught.value.what
    assert caught.value.where.startswith("run.yaml")
    assert caught.value.fix


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["a:\n" + "- b\n" * 30_000, "a: [" + "b," * 30_000 + "]", "a: {" + "b: ," * 20_000 + "}"]
)
def test_values_without_end_are_no_file_of_a_person(text: str):
    with pytest.raises(ConfigError, match=r"more than 30,000 keys and values(.|\n)*keep data in a data file"):
        parse_yaml(text, FILE)
    assert len(parse_yaml("a: [" + "b," * 20_000 + "]", FILE).data["a"]) == 20_000


def test_a_missing_file_names_the_nearest(tmp_path: Path):
    (tmp_path / "quickstart.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"did you mean 'quickstart\.yaml'"):
        read_yaml(tmp_path / "quikstart.yaml")


def test_a_large_file_and_one_that_is_not_text_are_refused(tmp_path: Path):
    (tmp_path / "large.yaml").write_text("a: " + "x" * 1_000_001)
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe\xfa")
    with pytest.raises(ConfigError, match="larger than 1000000 bytes"):
        read_yaml(tmp_path / "large.yaml")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_yaml(tmp_path / "binary.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path):
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(tmp_path / "bom.yaml").data == {"a": 1}
