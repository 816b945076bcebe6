"""What a run writes and reads back, each a frozen class: the waist. All names are to be had from here.

A reader gets a value of a class or a StoreError, never a dict. `VERSION` is that of all files of a run; what was
written before is brought to today's shapes in one place, `migration`.
"""

from harness.store.schema.codec import Codec
from harness.store.schema.measurements import (
    MEASUREMENTS,
    ChargeLine,
    EnergyLine,
    EngineLine,
    LatencyLine,
    LoadLine,
    Measurement,
    MemoryLine,
    ModelLine,
    PassLine,
    RequestLine,
    StoppedLine,
    TimedAlone,
    model_line,
)
from harness.store.schema.migration import migrated
from harness.store.schema.plan import (
    PLANS,
    VERSION,
    DataUsed,
    GitState,
    Host,
    JudgeEntry,
    ModelEntry,
    PlanFile,
    PlannedCell,
    PlannedLoad,
)
from harness.store.schema.responses import PARTS, RECORD_LINES, RESPONSE_LINES

__all__ = [
    "MEASUREMENTS",
    "PARTS",
    "PLANS",
    "RECORD_LINES",
    "RESPONSE_LINES",
    "VERSION",
    "ChargeLine",
    "Codec",
    "DataUsed",
    "EnergyLine",
    "EngineLine",
    "GitState",
    "Host",
    "JudgeEntry",
    "LatencyLine",
    "LoadLine",
    "Measurement",
    "MemoryLine",
    "ModelEntry",
    "ModelLine",
    "PassLine",
    "PlanFile",
    "PlannedCell",
    "PlannedLoad",
    "RequestLine",
    "StoppedLine",
    "TimedAlone",
    "migrated",
    "model_line",
]
