"""Text of a model, a server or a file changes nothing but itself in whatever shows it: tables, notes, messages.

Each medium is read back by a parser of its own: what it finds beside the text must be the same as with a harmless one.
"""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from harness.errors import HarnessError, visible
from harness.reports import plain
from harness.reports.formats import FORMATS
from harness.reports.notebook import html
from harness.store.schema import Note, NoteCode, Subject, Summary
from tests.support.rows import row, summary

HOSTILE = [
    "m\n\n## Injected\n<img src=x onerror=alert(1)>",
    "# heading",
    "1. item",
    "- item",
    "> quote",
    "=====",
    "[ ] task",
    "[x]: http://evil.example/",
    "[click](javascript:alert(1))",
    "![i](http://evil.example/i.png)",
    "[a][b]",
    "a | b | c",
    "`code` ``more``",
    "```\nfence",
    "*bold* **bolder** _it_ __so__ ~~gone~~",
    "&lt;b&gt; &#60;script&#62; &amp;",
    "<script>alert(1)</script>",
    "<!-- hidden",
    "</td></tr></table>",
    '" onload="x',
    "\\",
    "\\\\ | \\| x",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\r overwritten",
    "a\u202eb\u2066c\u200d\u00ad\ufeff",
    "\U000e0041tags",
    "\ud800 half",
    "\u2028\u2029\x85\x0b\x0c next",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    " =1+1",
    "\uff1d1",
    "\t=1",
    "x\r\n=1+1",
    '","=1+1',
    "[1] row",
    "*star",
    "x*",
    "1*",
    "** x",
    "[a\\]b]: http://evil.example/",
    "[a]:http://evil.example/ 'title'",
    "\\input{/etc/passwd} $x^2$ 100% #1 a_b ~ {} &",
    "%\n\\write18{id}",
]


def dressed(value: Any, text: str) -> Any:
    """Returns a value of a summary in which each free text is another one; words of ours stay."""
    if type(value) is str:
        return text
    if is_dataclass(value) and not isinstance(value, type):
        kept = {"mode", "kind", "level", "code", "method"}
        parts = {f.name: getattr(value, f.name) for f in fields(value) if f.init and f.name not in kept}
        return replace(value, **{name: dressed(part, text) for name, part in parts.items()})
    if isinstance(value, Mapping):
        return {dressed(key, text) if value is not None else key: dressed(part, text) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(dressed(part, text) for part in value)
    return value


def hostile(text: str) -> Summary:
    """A summary with a text in every place where a server, a model folder, a data file or a run file can put one."""
    about = Subject(text, (text,))
    figures = {name: text for name in ("source", "date", "machine", "processor", "kind", "reason", "licence", "column")}
    figures |= {name: text for name in ("commercial", "provider", "listed_as", "retrieved", "parameter", "why")}
    figures |= {name: text for name in ("always_answer", "value", "label", "judge", "where", "such_as", "stopped")}
    numbers = {"accuracy": 0.5, "rest": 0.6, "n": 3, "answers": 4, "p_holm": 0.1, "compared": 2, "expected": 9}
    numbers |= {"asked": 4, "utilisation": 1.0, "always_value": 1.0, "cores": 2, "verdicts": 5}
    codes = [
        *(NoteCode.MEASURED_ON, NoteCode.SEALED, NoteCode.LICENCE, NoteCode.MACHINE_PRICE, NoteCode.LIST_PRICE),
        *(NoteCode.LOSS_UNIT, NoteCode.ANSWERED_AS, NoteCode.RECORDED_ANSWERS, NoteCode.NOT_AS_ASKED),
        *(NoteCode.REFUSALS, NoteCode.TOKEN_COUNTS, NoteCode.JUDGED_BY, NoteCode.VERDICTS_UNREADABLE),
        *(NoteCode.JUDGE_STOPPED, NoteCode.SAMPLES_OWED, NoteCode.AGREEMENT_UNKNOWN),
    ]
    notes = [
        Note(code, subject=about, figures={**numbers, **figures}, counts={text: 3, text + "!": 1}) for code in codes
    ]
    slice_note = Note(NoteCode.WORST_SLICE, subject=about, figures={**numbers, **figures})
    found = dressed(summary(row("m"), row("other")), text)
    return replace(found, run=text, notes=(*notes, slice_note))


HARMLESS = hostile("x")


def markdown_shape(text: str) -> list[tuple[str, str]]:
    """Returns the elements of a Markdown text as GitHub reads it, without its words."""
    parser = MarkdownIt("commonmark").enable("table").enable("strikethrough")
    shape: list[tuple[str, str]] = []
    for token in parser.parse(text):
        shape.append((token.type, token.tag))
        shape += [(t.type, t.tag) for t in token.children or () if t.type not in {"text", "text_special"}]
    return shape


class Shape(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


def html_shape(text: str) -> list[Any]:
    shape = Shape()
    shape.feed(text)
    shape.close()
    return shape.found


def tex_shape(text: str) -> list[str]:
    """Returns the commands of a LaTeX text but those that only draw a character, and whatever ends a cell or a line."""
    drawn = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}|\\[&%$#_{}]|\{[\[*]\}", "", text)
    lines = [line for line in drawn.split("\n") if not line.startswith("%")]
    return re.findall(r"\\[a-z]+|\\\\(?:\s*\[)?|[&%$#~^{}]", "\n".join(lines))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_changes_no_element_of_a_document(text: str):
    asked = hostile(text)
    assert markdown_shape(FORMATS["markdown"](asked)) == markdown_shape(FORMATS["markdown"](HARMLESS))
    assert html_shape(html(asked)) == html_shape(html(HARMLESS))
    assert tex_shape(FORMATS["latex"](asked)) == tex_shape(FORMATS["latex"](HARMLESS))
    comments = [len(re.findall("(?m)^%", FORMATS["latex"](one))) for one in (asked, HARMLESS)]
    assert comments[0] == comments[1]
    for form in ("markdown", "latex", "text", "csv"):
        found = FORMATS[form](asked)
        assert visible(found, keep="\n") == found, form  # nothing that a reader would not see
        found.encode("utf-8")
    assert "<img" not in FORMATS["markdown"](asked) and "<script" not in html(asked)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_one_cell_of_a_spreadsheet_and_no_formula(text: str):
    found = list(csv.reader(io.StringIO(FORMATS["csv"](hostile(text)), newline="")))
    harmless = list(csv.reader(io.StringIO(FORMATS["csv"](HARMLESS), newline="")))
    assert [len(line) for line in found] == [len(line) for line in harmless]
    texts = [cell for line in found for cell in line if not re.fullmatch(r"[-+]?[\d.]+(e-?\d+)?", cell)]
    assert not [cell for cell in texts if cell.lstrip(" ")[:1] in tuple("=+-@\t\r\uff1d")]


def test_what_a_markdown_reader_sees_is_the_text_itself():
    for text in (one for one in HOSTILE if visible(one) == one):
        (inline,) = [t for t in MarkdownIt("commonmark").parse("a " + plain.markdown(text)) if t.type == "inline"]
        assert "".join(t.content for t in inline.children or ()) == "a " + text.rstrip()


@pytest.mark.parametrize(
    "text",
    [
        "86.0 [81.6, 89.5]",
        "+2.0 [-1.0, +5.0]*",
        "a_b_c",
        "$0.4/h",
        "x: 1 (2)",
        "Größe 3 µs – 5 %",
        "snake_case",
        "a & b",
    ],
)
def test_a_harmless_text_is_left_as_it_is(text: str):
    assert plain.markdown(text) == plain.plain(text) == text


def test_a_message_is_three_lines_whatever_it_speaks_of():
    evil = "col\n  fix rm -rf ~\x1b[2K\u202e"
    message = str(HarnessError(f"no column '{evil}'", where=evil, fix=evil))
    assert len(message.splitlines()) == 3 and visible(message, keep="\n") == message


COMMAND = """
import sys
from harness.cli import terminal
evil = "\\x1b[2J a\\u202eb \\ud800 \\x9b"
terminal.show("one\\ntwo " + evil); terminal.say(evil); terminal.show_json({"k": evil})
"""


def test_what_is_printed_moves_no_cursor_and_json_says_the_same(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", COMMAND], capture_output=True, text=True, check=True)
    for text in (done.stdout, done.stderr):
        assert visible(text, keep="\n") == text
    assert done.stdout.startswith("one\ntwo ")
    assert json.loads(done.stdout.splitlines()[-1])["k"] == "\x1b[2J a\u202eb \ud800 \x9b"
