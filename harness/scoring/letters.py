"""The letter of a choice in what a model wrote: how it is stated, denied, or left open among several."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from harness.scoring.languages import LATIN, SPACED, UNSPACED, any_of, words_of
from harness.scoring.plain_text import undressed

Pick = Literal["first", "last"]


def letter(text: str, *, letters: str | None = None, labels: Sequence[str] = (), pick: Pick = "last") -> str | None:
    """Returns the letter of the choice that the text states; None if it states none, or leaves several open.

    Looked for in turn: nothing but the letter ("Option B", "B, not A"); what is said to be the answer, in any of the
    languages of `languages` ("the answer is B", "die Antwort ist B", "答案：B", a box, <answer>B</answer>; `pick`
    decides between several); a line that opens with "B.", "(B)" or "B: ..."; a letter in brackets or after "option".
    What is denied ("not B", "B is wrong") is not stated. A letter within prose is no answer.
    `letters`: those of the task's labels that are one character long, else ABCD.
    """
    letters = letters or "".join(label for label in labels if len(label) == 1) or "ABCD"
    plain = undressed(text)
    low = plain.lower()
    read = _Reader(plain, low if len(low) == len(plain) else "".join(c.lower()[:1] for c in plain), letters)
    if (whole := read.whole()) is not None:
        return _only(whole)
    if stated := list(read.stated()):
        return _only(stated[0 if pick == "first" else -1])
    for found in (set(read.openings()), set(read.mentions())):
        if found:
            return _only(found)
    return None


def _only(found: set[str]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None


# --- what is said ----------------------------------------------------------------------------------------------------

FILL = rf"(?:(?:{words_of('between', 'answer')}|either|both|clearly|definitely|therefore|thus|probably)[:\s]{{0,2}})"
STATES = re.compile(
    rf"\b(?:{any_of('answer', SPACED)})\b(?:\s?\([^()\n]{{0,60}}\))?(?:\s(?:to|for)\s[^.:\n]{{1,60}}?)?"
    rf"(?:\s(?P<no>{any_of('denies', SPACED)})\b)?(?:\s(?!(?:{any_of('denies', SPACED)})\b)[^\W\d]{{1,14}})?"
    r"[\s_]{0,9}"
    rf"(?:\b(?:{any_of('states', SPACED)})\b\s?:?|[:=—]|[-–](?=\s))"
    rf"|(?:{any_of('answer', UNSPACED)})\s?(?:{any_of('states', UNSPACED)})?\s?[:=]?"
    rf"|{words_of('chooses')}\s?:?"
    r"|(?P<it>\b(?:it|this|that)(?:'s|\sis|\smust\sbe|\shas\sto\sbe)\b)"
)
NEGATED = re.compile(rf"{words_of('denies')}\s?{FILL}{{0,5}}[\s(\[]{{0,3}}$")
SUPPOSED = re.compile(r"\b(?:if|whether|wenn|falls|ob|si|se|als|indien|если|如果|もし|만약)\s?(?:\w{1,3}\s)?$")
RIGHT = re.compile(rf"[)\]]?\s?(?:{any_of('right')})")
WRONG = re.compile(rf"[)\].:,]{{0,2}}\s?(?:[-–—]\s)?(?:{any_of('wrong')})")
REJECTED = re.compile(
    r"[).:\]]{0,2}[^.,;\n]{0,80}\b(?:is|are|ist|est|es|è|é)\s(?:wrong|incorrect|not\s(?:correct|right)|falsch|fausse?|incorrect[aoe]"
    r"|errad[ao])\s*(?:[.!\n]|$)"
)
UNDONE = re.compile(rf"[)\]]?\s?(?:{any_of('wrong', UNSPACED)})")
OPENS = re.compile(rf"[)\]]?\s?(?:[).:]|\n|$|[-–—]\s|,?\s(?:{any_of('because', SPACED)})\b)")
LINE = re.compile(r"^[ \t>#\-–•]*", re.MULTILINE)
AROUND = re.compile(r"[\s.,:;!?()\[\]{}|>#\-–—=→✓✔✅☑/]*")
NAMED = rf"(?:\b(?i:{any_of('answer', SPACED)})\s|选项|選項|选|選|選択肢|선택지\s?|\()"


@dataclass(frozen=True, slots=True)
class _Patterns:
    """What is looked for, for certain letters."""

    item: re.Pattern[str]  # a letter with what may stand before it, denial and all
    further: re.Pattern[str]  # what joins another to it, and that one
    lone: re.Pattern[str]  # a letter that is no part of a word, as the task writes it
    named: re.Pattern[str]  # one in brackets, or after "option"
    before: re.Pattern[str]  # another letter that is joined to what follows


@cache
def _patterns(letters: str) -> _Patterns:
    any_case, own = re.escape(letters + letters.lower() + letters.upper()), re.escape(letters)
    alone = rf"(?<![{LATIN}\d_'+.])(?<![-−–—](?=\d))[", rf"](?![{LATIN}\d_+#']|[.,]\d|[-−](?:\w|[.,;)]|\s*$))"
    on = rf"{words_of('because', 'also', 'but', 'denies')}|(?:which|for|with|where|when|though)\b"
    ended = rf"(?=\S|\s*$|\s*\n|\s+(?i:{on})|\s+[^{LATIN}\s\d])"
    item = rf"[\s\[({{]{{0,9}}(?i:(?P<no>{words_of('denies')})\s?)?(?i:{FILL}){{0,4}}?[\s\[({{]{{0,3}}"
    item += rf"(?P<letter>{alone[0]}{any_case}{alone[1]}){ended}[)\]}}]?"
    also, but = words_of("also"), words_of("but")
    joined = rf"(?:[,;/&+、]\s?(?i:{also}|(?P<but>{but}))?|\s?(?i:{also}|(?P<yet>{but})))"
    lone = rf"{alone[0]}{own}{alone[1]}"
    return _Patterns(
        re.compile(item),
        re.compile(rf"\s?{joined}{item}"),
        re.compile(lone),
        re.compile(rf"(?<!\w){NAMED}\s?(?P<letter>{lone})(?=(?P<close>\)?))"),
        re.compile(rf"{lone}[)\]]?\s?(?:[,/&]|(?i:{words_of('also')}))\s?\(?$"),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """A text and the letters that are looked for in it."""

    text: str
    low: str  # the same in lower case, character by character
    letters: str

    def chain(self, at: int, as_written: bool = False, denied: bool = False) -> tuple[set[str], int] | None:
        """Returns the letters that are affirmed from a place on ("A or C", "not A but B") and where that ends.

        `denied`: what comes first is denied by what stood before.
        """
        patterns = _patterns(self.letters)
        found = patterns.item.match(self.text, at)
        if found is None or (as_written and found["letter"] not in self.letters):
            return None
        affirmed: set[str] = set()
        end = at
        while found is not None:
            turned = end > at and bool(found["but"] or found["yet"])
            denied = bool(found["no"]) or (denied and not turned)
            if not denied:
                affirmed.add(self.named(found["letter"]))
            end = found.end()
            found = patterns.further.match(self.text, end)
        return affirmed, end

    def named(self, found: str) -> str:
        """Returns a letter as the task writes it."""
        return next(letter for letter in self.letters if letter.lower() == found.lower())

    def negated(self, at: int) -> bool:
        """Tells if what begins at a place is denied or only supposed by the words before it."""
        before = self.low[max(0, at - 60) : at]
        return NEGATED.search(before) is not None or SUPPOSED.search(before) is not None

    def whole(self) -> set[str] | None:
        """Returns the letters affirmed by a text that says nothing else, None for one that does."""
        start = AROUND.match(self.text)
        found = self.chain(start.end() if start else 0) or self.chain(0)
        if found is None or not AROUND.fullmatch(self.text, found[1]):
            return None
        return found[0]

    def stated(self) -> Iterator[set[str]]:
        """Yields what is said to be the answer, statement by statement, in the order of the text."""
        said: list[tuple[int, set[str]]] = []
        for match in STATES.finditer(self.low):
            found = self.chain(match.end(), match["it"] is not None, match["no"] is not None)
            if found is None or not found[0] or self.negated(match.start()) or UNDONE.match(self.low, found[1]):
                continue
            said.append((match.start(), found[0]))
        patterns = _patterns(self.letters)
        for match in patterns.lone.finditer(self.text):
            end = match.end()
            if RIGHT.match(self.low, end) and not WRONG.match(self.low, end) and not self.negated(match.start()):
                other = patterns.before.search(self.text[max(0, match.start() - 20) : match.start()])
                said.append((match.start(), {self.named(match[0])} | ({other[0][0]} if other else set())))
        yield from (letters for _, letters in sorted(said, key=lambda one: one[0]))

    def openings(self) -> Iterator[str]:
        """Yields the letters with which lines open, but those that are called wrong."""
        asked = re.search(r"^q\s?:", self.low, re.MULTILINE) is not None
        for line in LINE.finditer(self.text):
            found = self.chain(line.end())
            if found is None or self.wrong(found[1]):
                continue
            if self.text[found[1] - 1] not in ")]" and not OPENS.match(self.low, found[1]):
                continue
            rest = self.text[found[1] :].partition("\n")[0].strip(" :.()")
            if not (asked and self.low.startswith("a:", line.end())) and not (len(rest) == 1 and rest in self.letters):
                yield from found[0]

    def mentions(self) -> Iterator[str]:
        """Yields the letters in brackets or after "option", but those that are denied or called wrong."""
        for match in _patterns(self.letters).named.finditer(self.text):
            if match[0].startswith("(") and not match["close"]:
                continue
            if not (self.negated(match.start()) or self.wrong(match.end())):
                yield self.named(match["letter"])

    def wrong(self, at: int) -> bool:
        """Tells if what ends at a place is called wrong by the words behind it."""
        return WRONG.match(self.low, at) is not None or REJECTED.match(self.low, at) is not None
