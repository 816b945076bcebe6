"""Lines of `responses.jsonl`, `verdicts.jsonl` and `records.jsonl`: what a model said, and what came of it."""

from __future__ import annotations

from harness.store.schema.codec import Codec
from harness.values import Record, ResponseLine

PARTS = ("billing", "counted", "thinking", "confidence", "elapsed", "provider", "applied")
RESPONSE_LINES: Codec[ResponseLine] = Codec(ResponseLine, "response", left_out=PARTS)
RECORD_LINES: Codec[Record] = Codec(Record, "record", left_out=("turns", "verdicts"))
