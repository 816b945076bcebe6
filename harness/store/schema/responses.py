"""Lines of `samples.jsonl`, `responses.jsonl`, `verdicts.jsonl` and `records.jsonl`."""

from __future__ import annotations

from harness.store.schema.codec import Codec
from harness.values import Record, ResponseLine, Sample

PARTS = ("billing", "counted", "thinking", "confidence", "elapsed", "provider", "applied")
RESPONSE_LINES: Codec[ResponseLine] = Codec(ResponseLine, "response", left_out=PARTS)
SAMPLE_LINES: Codec[Sample] = Codec(Sample, "sample")
RECORD_LINES: Codec[Record] = Codec(Record, "record", left_out=("turns", "verdicts"))
