"""Lines of `responses.jsonl`, `verdicts.jsonl` and `records.jsonl`: what a model said, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.store.schema.codec import Codec
from harness.values import Mode, Record, Response

AnswerPlace = tuple[str, str, str, int]  # model, task, sample id, epoch: one answer, or one conversation
CellName = tuple[str, str]  # model, task


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseLine(Response):
    """A response with where it belongs: one line of `responses.jsonl`, or of `verdicts.jsonl` for a judge's.

    One that is `provisional` may be followed by another of its key, which then counts in its place.
    """

    model: str  # as the run names it; of a judge: `judge NAME`
    task: str
    sample_id: str
    epoch: int  # from 0
    turn: int  # of a conversation, from 1
    mode: Mode
    input_characters: int | None  # given to read; 0: it was never sent. None: nobody noted it
    sent_bytes: int | None  # of text that left this machine for it, in all attempts. None: nobody noted it

    @property
    def cell(self) -> CellName:
        """Returns the model and the task."""
        return self.model, self.task

    @property
    def place(self) -> AnswerPlace:
        """Returns which answer, or conversation, it belongs to."""
        return self.model, self.task, self.sample_id, self.epoch


def values_of(response: Response) -> dict[str, Any]:
    """Returns the fields of a response by name, from which a line goes on."""
    return {name: getattr(response, name) for name in Response.__dataclass_fields__}


PARTS = ("billing", "thinking", "confidence", "elapsed", "provider", "applied")
RESPONSE_LINES: Codec[ResponseLine] = Codec(ResponseLine, "response", left_out=PARTS)
RECORD_LINES: Codec[Record] = Codec(Record, "record", left_out=("turns", "verdicts"))
