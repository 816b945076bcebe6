"""What follows from a run, as `summary.json` holds it: a row for each model on each task, and what all rows share.

Unknown is None, with its reason where an `Estimate` has room for one; it is never 0. Shares are in [0, 1], money in
USD, times in seconds, energy in joules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.config.machine import MachineConfig
from harness.errors import StoreError
from harness.measure.other_work import Bystanders
from harness.stats.classification import Classification
from harness.store.schema.codec import Codec
from harness.store.schema.manifest import JudgedBy
from harness.store.schema.notes import Note
from harness.store.schema.plan import VERSION
from harness.values import Estimate, Mode


@dataclass(frozen=True, slots=True)
class Counts:
    """How many answers were asked for, and what became of them."""

    n: int  # samples with an answer that counts
    responses: int  # answers there are, those that failed too; a conversation is one
    expected: int  # answers that the plan asks for
    errors: int  # answers that ended in an error of the backend
    missing: int  # of recorded answers: those that are not in the file; each is an error
    transient: int  # failed, and may succeed if asked again; with a judge, its verdicts too
    truncated_prompts: int  # prompts cut on the left to fit the context
    failures: Mapping[str, int] = field(default_factory=dict)  # by kind; in a conversation each with its turn


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model ran, and whether somebody is paid by the token for it."""

    name: str  # "this machine", "recorded", or a host
    kind: Literal["here", "host", "file"]
    paid: bool


@dataclass(frozen=True, slots=True)
class Egress:
    """What left this machine for the answers of a row and their verdicts."""

    hosts: tuple[str, ...]
    share_of_samples: float
    bytes: int | None  # of text; None where a sitting was cut off before it could count them


@dataclass(frozen=True, slots=True)
class Difference:
    """Accuracy minus the baseline's, on the samples that both have a value for (`estimate.n`)."""

    estimate: Estimate
    p: float  # two-sided, for "no difference"
    test: str
    wins: int  # samples on which it scored higher than the baseline
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class Slice:
    """The accuracy of the samples that have one value in one column, beside all others."""

    column: str
    value: str
    n: int
    accuracy: Estimate
    rest: float | None  # accuracy of all other samples
    p: float | None  # of "no different from the rest"; None: undefined
    p_holm: float | None  # corrected for all slices of all columns
    compared: int  # slices that it is corrected for


@dataclass(frozen=True, slots=True)
class ExpectedLoss:
    """What the answers cost in the unit of the task's `costs`, and the cheapest one answer to all."""

    estimate: Estimate
    always_answer: str
    always_value: float


@dataclass(frozen=True, slots=True)
class LayoutRange:
    """The lowest and the highest accuracy of the task's own prompt layout and its variants."""

    variants: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of single requests, one at a time, warm. A percentile is unknown where there are too few."""

    ttft_p50: Estimate
    ttft_p95: Estimate
    tpot_p50: Estimate
    e2e_p50: Estimate
    e2e_p95: Estimate
    n: int  # requests timed
    failed: int
    warmup: int  # requests before, not timed
    bystanders: Bystanders  # what else the processors did meanwhile


@dataclass(frozen=True, slots=True)
class Throughput:
    """The whole pass for accuracy, all its sittings, the model loaded. Real tokens, no padding."""

    wall_s: float | None = None
    samples: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prefill_s: float | None = None  # machine seconds inside `wall_s`
    decode_s: float | None = None
    input_tokens_per_s: float | None = None
    output_tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was read and written, as the answers that count tell it."""

    input_tokens: int | None
    output_tokens: int | None  # thinking included
    thinking_tokens: int | None  # None: there was none, or nobody counted it
    input_characters: int | None
    output_characters: int | None
    usage: Mapping[str, int] = field(default_factory=dict)  # how counts that are not the provider's were made: answers


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Prompt tokens that were really computed, and those that a server without sharing would bill."""

    computed: int | None = None
    usd_per_1m_computed: float | None = None
    billed: int | None = None
    usd_per_1m_billed: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the pass cost, in USD. On a machine its seconds; at a provider what it billed, every attempt."""

    usd: float | None
    known_usd: float | None  # of a provider's bill: the part that is known. None: no provider was paid
    input_usd: float | None  # on a machine: for reading prompts; with `output_usd` it is `usd`
    output_usd: float | None
    usd_per_1m_input: float | None
    usd_per_1m_output: float | None
    usd_per_1k_samples: float | None
    usd_per_correct: float | None
    usd_per_1m_characters: float | None  # read and written together: the same unit whatever a model's tokens are
    reasons: Mapping[str, str] = field(default_factory=dict)  # why a field is None, by its name


@dataclass(frozen=True, slots=True)
class EnergyUse:
    """Joules of the pass by counters in the hardware, the whole device. Unknown with a reason, never an estimate."""

    method: str  # nvml_counter | rapl_package | both joined by + | none
    joules: float | None
    watts: float | None
    idle_watts: float | None  # what the same devices draw at rest
    net_joules: float | None  # above rest
    j_per_output_token: float | None
    j_per_sample: float | None
    j_per_correct: float | None
    carbon_g: float | None  # only where the machine file tells the grid's
    reason: str | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a judge model agrees with people on the texts that both judged."""

    n: int
    unreadable: int  # texts of which the judge gave no readable verdict
    raw: Estimate | None = None  # share of equal verdicts; None: no text has both
    kappa: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Corrected:
    """The mean that people would give, from their verdicts on some answers and the judge's on all."""

    estimate: Estimate
    labels: int  # answers that people judged


@dataclass(frozen=True, slots=True)
class BothOrders:
    """Pairs that a judge was shown in both orders."""

    pairs: int
    consistent: Estimate  # share with one verdict in both
    first: int  # of the others: how often what stood first was preferred
    second: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Whole replies of a judge that hold no verdict."""

    n: int
    such_as: str  # the beginning of the first of them; empty if there is nothing to see


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge model's part in a row."""

    judge: str
    verdicts: int
    owed: int
    failed: int
    unreadable: Unreadable | None
    agreement: Agreement | None  # None: people judged nothing
    corrected: Corrected | None
    both_orders: BothOrders | None
    warning: Note | None  # why its verdicts are to be read with care


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one task: all that a table, a report or a gate may ask."""

    model: str
    task: str
    task_version: int
    layout_of: str | None  # the task that this one is another prompt layout of
    mode: Mode
    kind: str
    reads: str  # what was scored where no text was generated: choices, answers, texts
    asked: Counts
    accuracy: Estimate
    expected_loss: ExpectedLoss | None
    metrics: Mapping[str, Estimate]
    slices: tuple[Slice, ...]
    difference: Difference | None  # None for the baseline, and where there is nothing to compare
    latency: Latency
    throughput: Throughput
    tokens: Tokens
    cost: Cost
    prompt_tokens: PromptTokens
    energy: EnergyUse
    place: Place
    left_machine: Egress
    incomplete: Note | None  # why the row does not stand for all samples
    over_layouts: LayoutRange | None = None
    judged: Judged | None = None
    metric: str | None = None  # which metric the accuracy is; None: the one that its kind or scorer gives first
    labels: Classification | None = None  # only where it was asked for: how each label does
    run: str = ""  # where rows of several runs stand together: the run's name
    mark: str = ""  # and the number that tells equally named models apart
    notes: tuple[Note, ...] = ()  # those of the summary that are about this row

    @property
    def complete(self) -> bool:
        """Returns whether every planned answer is there, and no more than allowed ended in an error."""
        return self.asked.responses >= self.asked.expected and self.incomplete is None


@dataclass(frozen=True, slots=True)
class Reference:
    """What guessing (`chance`) or always naming the commonest answer (`majority`) would score on a task."""

    name: str
    task: str
    n: int
    value: float
    answer: str | None = None  # the commonest


@dataclass(frozen=True, slots=True)
class PricedMachine:
    """The machine that a run's seconds are priced on."""

    config: MachineConfig
    usd_per_hour: float | None
    parts: Mapping[str, float | None]  # of an hour, USD


@dataclass(frozen=True, slots=True)
class Sealed:
    """What kept the data on this machine, over all sittings the weakest. `reason` where nothing did."""

    kind: str  # kernel | namespace | none
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason})" if self.reason else self.kind


@dataclass(frozen=True, slots=True)
class Spent:
    """What was paid to providers in all, a judge's and timed requests included, USD."""

    cut_off: tuple[str, ...]  # models of which a sitting was cut off with requests under way: theirs is unknown
    usd: float | None
    known_usd: float | None
    most_usd: float | None
    beside_answers_usd: float | None  # the part that was not for answers
    by_model: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class JudgeWork:
    """What judging took in all, priced apart: no row holds it."""

    name: str
    where: str
    digest: str
    verdicts: int
    failed: int
    cut: int  # prompts cut to fit its context
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None
    usd_with_models: float | None
    stopped: str | None  # what stopped it before its end


@dataclass(frozen=True, slots=True)
class Summary:
    """All that follows from the files of a run: the content of `summary.json`."""

    run: str
    digest: str
    rows: tuple[Row, ...]
    references: tuple[Reference, ...]
    baseline: str
    machine: PricedMachine | None
    sealed: Sealed | None  # None: nobody noted it
    spent: Spent | None  # None: no provider was paid
    judge: JudgeWork | None
    notes: tuple[Note, ...]  # in the order in which a reader needs them
    head: str | None = None  # of the chain of responses.jsonl when this was written
    verdicts_head: str | None = None
    judged_by: JudgedBy | None = None  # None: an earlier version, which did not say
    schema: int = VERSION

    @property
    def complete(self) -> bool:
        """Returns whether every row there is stands for its whole task."""
        return all(row.complete for row in self.rows)

    def row(self, model: str, task: str) -> Row:
        """Returns the row of a model on a task. Raises StoreError where there is none."""
        for row in self.rows:
            if (row.model, row.task) == (model, task):
                return row
        named = ", ".join(f"{row.model} on {row.task}" for row in self.rows)
        raise StoreError(f"run {self.run} has no row of {model} on {task}", fix=f"there are: {named}")


_SUMMARIES: Codec[Summary] = Codec(Summary, "summary of a run")


def with_row_notes(summary: Summary) -> Summary:
    """Returns a summary whose rows hold the notes that are about them."""
    rows = tuple(
        replace(row, notes=tuple(note for note in summary.notes if note.is_of(row.model, row.task)))
        for row in summary.rows
    )
    return replace(summary, rows=rows)


def summary_to_json(summary: Summary) -> dict[str, object]:
    """Returns the content of summary.json, as JSON values. Notes stand once, in the summary's own list."""
    return _SUMMARIES.write(replace(summary, rows=tuple(replace(row, notes=()) for row in summary.rows)))


def summary_from_json(content: Mapping[str, object], where: str = "") -> Summary | None:
    """Returns the summary that summary.json holds; None if an earlier version wrote it, whose notes are sentences.

    Such a run is judged again instead (`analysis.run_summary.summary_of`). Raises StoreError for content that is no
    summary, and for one of a later version.
    """
    schema = content.get("schema")
    if schema is None:
        return None
    if schema != VERSION:
        raise StoreError(
            f"summary.json has version {schema}, and this harness reads version {VERSION}",
            where=where,
            fix="read it with the version of the harness that wrote it, or run `harness score` on the folder",
        )
    return with_row_notes(_SUMMARIES.read(dict(content), where))
