"""The responses of one cell in one sitting: kept in a log as they come, and what they took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from harness.errors import WorkStopped
from harness.measure.other_work import between, reading
from harness.runs.requests import Cell
from harness.runs.sizes import characters, sent_bytes
from harness.stats.totals import total
from harness.store.folder import RunFolder
from harness.store.lines import add_measurement, payload
from harness.store.log import Paced, ResponseLog
from harness.store.schema import PassLine
from harness.values import Request, Response, ResponseLine, placed


class Recording:
    """Keeps responses. `asked` has the requests as they are sent, by key: whoever sends them adds to it."""

    def __init__(self, cell: Cell, log: ResponseLog) -> None:
        self.cell, self.asked = cell, dict[str, Request]()
        self._planned = {request.key: request for request in cell.requests}
        served = cell.model.place.asked is not None  # what a server answered may have cost money: stored at once
        self._kept = Paced(log, at_once=served)

    @property
    def done(self) -> Sequence[ResponseLine]:
        """Returns what is on disk, of this sitting."""
        return self._kept.done

    def append(self, response: Response) -> Sequence[ResponseLine]:
        """Takes a response, and returns those that are on disk by now and were not returned before."""
        line = self._line(response)
        self._kept.add(line, payload(line))
        return self._kept.new()

    def rest(self) -> Sequence[ResponseLine]:
        """Stores what is held back, and returns it."""
        self._kept.flush()
        return self._kept.new()

    def _line(self, response: Response) -> ResponseLine:
        cell, request = self.cell, self._planned[response.key]
        return placed(
            response,
            (cell.model.config.name, cell.task.name, request.sample_id, request.epoch),
            turn=request.turn,
            mode=request.mode,
            input_characters=characters(self.asked[request.key]) if request.key in self.asked else 0,
            sent_bytes=sent_bytes(cell, self.asked, [response]),
        )


@contextmanager
def recorded(cell: Cell, log: ResponseLog, folder: RunFolder) -> Iterator[Recording]:
    """Gives what keeps the responses of a cell in a log; at the end, however it comes, writes down what they took."""
    recording = Recording(cell, log)
    started, before = time.perf_counter(), reading()
    cut_off = True  # from outside, with requests under way
    try:
        yield recording
        cut_off = False
    except WorkStopped:
        cut_off = False
        raise
    finally:
        recording.rest()
        if recording.done:
            took = _pass(recording, time.perf_counter() - started)
            beside = between(before, reading(), served_here=cell.model.place.served_here)
            add_measurement(folder.path, replace(took, cut_off=cut_off, bystanders=beside))


def _pass(recording: Recording, wall_s: float) -> PassLine:
    """Returns what is noted of the answers of one sitting: real tokens, machine seconds.

    A conversation is a sample of the sitting in which it ended.
    """
    cell, responses = recording.cell, recording.done
    followed = {request.follows for request in cell.requests}
    good = [response for response in responses if response.error is None]
    split = all(r.prefill_s is not None and r.decode_s is not None for r in good)
    return PassLine(
        model=cell.model.config.name,
        task=cell.task.name,
        mode=cell.mode,
        wall_s=wall_s,
        samples=sum(response.key not in followed for response in responses),
        responses=len(responses),
        sent_bytes=sent_bytes(cell, recording.asked, responses),
        failed=len(responses) - len(good),
        input_tokens=total(r.input_tokens for r in good),
        output_tokens=total(r.output_tokens for r in good),
        prefill_s=sum(r.prefill_s or 0.0 for r in good) if split else None,
        decode_s=sum(r.decode_s or 0.0 for r in good) if split else None,
        usd=total(response.usd for response in responses),
    )
