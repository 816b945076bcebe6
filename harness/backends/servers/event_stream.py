"""The bytes of a server's answer to pieces: for a run and a load alike, whatever brings the bytes.

    stream = EventStream(openai_piece, whole)
    for data in received: stream.feed(data, moment)         each `data:` line is an event
    stream.end()                                         what came otherwise: an answer in one piece, an error, a page

A line ends in LF, CR or both, and in nothing else: U+2028 and U+0085 are text. How much is read is bounded.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from harness.backends.servers.replies import BadReply, Piece, Read

MOST_BYTES = 1 << 25  # of one answer: a server that sends more is not answering
SHOWN = 200  # characters of what is no answer, in a message
_LINE_ENDS = re.compile(rb"\r\n|\n|\r")
_FIELDS = (b"event:", b"id:", b"retry:", b":")  # of an event stream, beside the data


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an interface is read: an event of a stream, and an answer that came as one JSON value."""

    read: Read
    whole: Callable[[Mapping[str, object]], Iterable[Piece]]


class EventStream:
    """Reads one answer."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._rest = b""  # of a line that goes on
        self._begun = b""  # of an event in several lines
        self._other: list[bytes] = []  # lines that are no events
        self._bytes = 0
        self._events = False
        self.done = False  # the server has said that nothing follows

    def feed(self, data: bytes, t: float | None = None) -> Iterator[Piece]:
        """Yields the pieces of bytes that came at `t`. Raises BadReply for what is no answer."""
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            raise BadReply("invalid", f"an answer of more than {MOST_BYTES >> 20} MiB")
        *lines, self._rest = _LINE_ENDS.split(self._rest + data)
        for line in lines:
            yield from self._line(line, t)

    def end(self) -> Iterator[Piece]:
        """Yields what is left when no more bytes come. Raises BadReply for what is no answer."""
        if self.done:
            return
        yield from self._line(self._rest, None)
        if self._events:  # a line that goes on was cut off: there is no finish reason then
            return
        text = b"\n".join(self._other).strip()
        if not text:
            return
        try:
            found = json.loads(str(text, "utf-8"))
        except (ValueError, RecursionError):
            raise BadReply("invalid", f"no answer but a text: {_excerpt(text)}") from None
        for body in found if isinstance(found, list) else (found,):
            yield from (replace(piece, done=True) for piece in self._dialect.whole(_mapping(body)))

    def _line(self, line: bytes, t: float | None) -> Iterator[Piece]:
        if self.done:
            return
        if line.startswith(b"data:"):
            event = line[5:].strip()
            if event == b"[DONE]":
                self.done = self._events = True
                yield Piece(done=True, t=t)
            elif event:
                yield from self._event(event, t)
        elif not line.strip():
            begun, self._begun = self._begun, b""
            if begun:  # the event is over, and its lines together are no JSON
                raise BadReply("invalid", f"no JSON: {_excerpt(begun)}")
        elif not line.startswith(_FIELDS):
            self._other.append(line)

    def _event(self, event: bytes, t: float | None) -> Iterator[Piece]:
        """Yields the piece of an event; one of several lines is complete with the last of them."""
        self._events = True
        whole = self._begun + b"\n" + event if self._begun else event
        try:
            body = json.loads(str(whole, "utf-8"))
        except (ValueError, RecursionError):
            self._begun = whole
            return
        self._begun = b""
        yield self._dialect.read(_mapping(body), t)


def read_stream(chunks: Iterable[bytes], dialect: Dialect) -> Iterator[Piece]:
    """Yields the pieces of an answer whose bytes come in chunks."""
    stream = EventStream(dialect)
    for data in chunks:
        yield from stream.feed(data, time.perf_counter())
        if stream.done:
            return
    yield from stream.end()


def _mapping(body: object) -> Mapping[str, object]:
    if not isinstance(body, Mapping):
        raise BadReply("invalid", f"no JSON object: {str(body)[:SHOWN]}")
    return body


def _excerpt(text: bytes) -> str:
    """Returns the beginning of a text without its markup: what a person needs to see what answered."""
    plain = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", str(text[:5000], "utf-8", "replace"), flags=re.S | re.I)
    return " ".join(plain.split())[:SHOWN] or "an empty page"
