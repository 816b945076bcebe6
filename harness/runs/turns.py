"""The turns of conversations: what was said before stands before what is asked next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.runs.requests import Cell
from harness.store.files import RESPONSES
from harness.store.folder import RunFolder
from harness.store.lines import read_response_lines
from harness.tasks.kinds import kind_of
from harness.values import Billing, Request, Response


def turns(cell: Cell) -> list[list[Request]]:
    """Returns the requests of the first turns, of the second, and so on; there is one turn but in conversations."""
    turns: dict[int, list[Request]] = {}
    for request in cell.requests:
        turns.setdefault(request.turn, []).append(request)
    return [turns[n] for n in sorted(turns)]


def said_before(cell: Cell, folder: RunFolder) -> dict[str, Response]:
    """Returns the stored answers, by key, that a later turn of a conversation follows."""
    wanted = {request.follows for request in cell.requests if request.follows}
    if not wanted:
        return {}
    folder.responses()  # cuts off a torn last line
    return {line.key: line for line in read_response_lines(folder.path / RESPONSES) if line.key in wanted}


def whole(
    cell: Cell, turn: Iterable[Request], asked: Mapping[str, Request], said: Mapping[str, Response]
) -> dict[str, Request]:
    """Returns the requests of a turn, by key, with all that was said before; not those that follow no answer."""
    found = {}
    for request in turn:
        if not request.follows:
            found[request.key] = request
        elif request.follows in asked and said[request.follows].error is None:
            text = kind_of(cell.task.config).replied(cell.task.config, said[request.follows].text or "", cell.chat)
            found[request.key] = replace(request, prompt=asked[request.follows].prompt.answered(text, request.prompt))
    return found


def unasked(request: Request, said: Mapping[str, Response]) -> Response:
    """Returns the error of a turn that follows no answer; it is asked when the turn before is, and answered."""
    error = f"not asked: turn {request.turn - 1} has no answer"
    owed = request.follows in said and said[request.follows].provisional
    free = Billing(0.0, 0.0)
    return Response(request.key, None, finish_reason="error", error=error, provisional=owed, billing=free)
