"""Text of models, servers and files made harmless: one function for each medium, through which every text goes.

Names, labels and messages may come from anywhere. None of them may end a cell, begin a heading, draw an image, run as a
formula or a command, move a cursor, or turn the direction of what stands beside it.
"""

from __future__ import annotations

import re
from html import escape

from harness.errors import visible


def plain(text: str) -> str:
    """Returns a text on one line, for a terminal: what cannot be seen is written out."""
    return visible(text)


def plain_lines(text: str) -> str:
    """Returns a text of several lines, for a terminal."""
    return visible(text, keep="\n\t")


_INLINE = re.compile(
    r"[\\`<|]"  # code, HTML, the end of a cell
    r"|&(?=#?\w+;)"  # another character's name
    r"|(?<=\])[(\[]"  # where a link leads
    r"|(?!(?<=\s)\*\s)(?:\*(?=.*\*)|(?<![\]\d])\*)|~(?=~)"  # one behind a figure is our mark, one by itself is none
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is a letter
)
_DEFINED = re.compile(r"^(\[(?:[^\[\]\\]|\\.)*\]):")  # the address of a link that stands elsewhere
_BEGIN = re.compile(r"^(\s*)([#>+\-=*~]|\d{1,9}(?=[.)])|\[(?=[ xX]\]))")


def markdown(text: str) -> str:
    """Returns a text as it stands within a line of Markdown, or in a cell of a table."""
    return _INLINE.sub(lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", plain(text))


def markdown_bold(text: str) -> str:
    """Returns a text as it stands between the stars of bold letters: none of its own would close them."""
    return re.sub(r"(?<!\\)\*", r"\\*", markdown(text.strip()))


def markdown_line(text: str) -> str:
    """Returns a text as it stands at the beginning of a line of Markdown, or of an item of a list."""
    text = plain(text).lstrip()
    begun = _BEGIN.match(text)
    if begun is None:
        return _DEFINED.sub(r"\1\\:", markdown(text))
    if begun[2].isdigit():
        return begun[2] + "\\" + text[begun.end()] + markdown(text[begun.end() + 1 :])
    return "\\" + begun[2] + markdown(text[begun.end() :])


_TEX = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "–": "--"}


def tex(text: str) -> str:
    """Returns a text as a cell of a LaTeX table: a star or bracket that begins a row would belong to the row before."""
    set_ = "".join(_TEX.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in plain(text).strip())
    return f"{{{set_[0]}}}{set_[1:]}" if set_[:1] in ("[", "*") else set_


def html(text: str) -> str:
    """Returns a text within an element, or an attribute in quotes, of HTML."""
    return escape(plain(text))


_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # wide ones too: spreadsheets read them alike


def csv_cell(text: str) -> str:
    """Returns a text as a cell of a spreadsheet: what would run as a formula has an apostrophe before it."""
    return plain(f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text)
