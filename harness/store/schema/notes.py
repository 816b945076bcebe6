"""What a reader of a run must know, as facts: a code, a level, what it is about, and figures. No sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from harness.values import Estimate

Level = Literal["info", "warning", "incomplete"]
Figure = bool | int | float | str | None | tuple[str, ...]


class NoteCode(StrEnum):
    """What a note says. Behind each: the figures it has, and `counts` or `estimates` where it has some."""

    # how a run was made
    MEASURED_ON = "measured_on"  # processor, cores
    THREADS = "threads"  # threads, cores
    SEALED = "sealed"  # kind, reason
    LICENCE = "licence"  # licence, commercial, reason
    STATED = "stated"  # licence, provenance, by: of a model's entry, not read from its files
    POLICY = "policy"  # name, digest, verdicts
    DESPITE_SELF_TEST = "despite_self_test"
    # what was asked
    ROWS_LEFT_OUT = "rows_left_out"  # n, columns
    PARTS_OF_DATA = "parts_of_data"  # n, of
    ANSWERS_RESPELLED = "answers_respelled"  # n
    NEVER_FIRST = "never_first"  # n
    # what it cost
    MACHINE_UNKNOWN = "machine_unknown"
    MACHINE_PRICE = "machine_price"  # machine, usd_per_hour, assumed, source, date, utilisation, age_days, old
    LIST_PRICE = "list_price"  # provider, listed_as, source, retrieved, age_days, old
    PAID = "paid"  # usd, known_usd, most_usd, beside_answers_usd, cut_off
    # rows
    WORST_SLICE = "worst_slice"  # column, value, accuracy, n, rest, p_holm, compared
    NO_INTERVAL = "no_interval"  # of: the figures that have none; reason
    LOSS_UNIT = "loss_unit"  # always_answer, always_value
    ENERGY = "energy"  # joules, method, net_joules, carbon_g, j_per_output_token, j_per_sample, j_per_correct
    TRUNCATED_PROMPTS = "truncated_prompts"  # n
    LOADED_OTHERWISE = "loaded_otherwise"  # part, why
    BUSY_MACHINE = "busy_machine"  # others, stolen: the highest shares; rows: those disturbed, of latencies
    BUSY_PASS = "busy_pass"  # the same, of throughputs and what follows from them
    # what the responses of a model tell
    ANSWERED_AS = "answered_as"  # n; counts: versions
    RECORDED_ANSWERS = "recorded_answers"  # n; counts: where they are from
    ANSWERS_MISSING = "answers_missing"  # n, asked, samples
    ANSWERS_MATCHED = "answers_matched"  # by what was asked: n, answers; samples, and what the file calls each
    NOT_AS_ASKED = "not_as_asked"  # parameter, n, answers, why
    HANDLED_OTHERWISE = "handled_otherwise"  # setting, n, answers, why
    PLAIN_METHOD = "plain_method"  # n, answers, why
    REFUSALS = "refusals"  # n, answers; counts: kinds
    TOKEN_COUNTS = "token_counts"  # label, n, answers
    NO_ANSWER_FOUND = "no_answer_found"  # n, answers, held; counts: the commonest of the texts
    # a judge model
    JUDGED_BY = "judged_by"  # judge, where, pairs
    AGREEMENT = "agreement"  # n, unreadable; estimates: raw, kappa
    VERDICTS_UNCHECKED = "verdicts_unchecked"
    VERDICTS_CHECKED_ON_FEW = "verdicts_checked_on_few"  # n, enough
    AGREEMENT_UNKNOWN = "agreement_unknown"  # reason
    AGREEMENT_BY_CHANCE = "agreement_by_chance"
    VERDICTS_UNREADABLE = "verdicts_unreadable"  # n, verdicts, such_as
    CORRECTED = "corrected"  # labels, n; estimates: mean
    BOTH_ORDERS = "both_orders"  # pairs, first, second; estimates: consistent
    OWN_JUDGE = "own_judge"
    JUDGE_BILL = "judge_bill"  # judge, verdicts, failed, cut, input_tokens, output_tokens, usd, usd_with_models
    JUDGE_STOPPED = "judge_stopped"  # judge, reason
    # rows that do not stand for the whole task; each may have `stopped`, what stopped the model
    SAMPLES_OWED = "samples_owed"  # asked, expected
    ERRORS_OVER_LIMIT = "errors_over_limit"  # errors, expected, allowed
    VERDICTS_OWED = "verdicts_owed"  # owed, verdicts
    FAILED_VERDICTS_OVER_LIMIT = "failed_verdicts_over_limit"  # failed, verdicts, allowed
    TRANSIENT = "transient"  # n, expected
    # a benchmark of load; of those about one scenario `scenario` is its name
    LOAD_SENT_FROM = "load_sent_from"  # processor, cores
    COLD_START = "cold_start"  # load_s, with_libraries, first_request_s
    LOADS_OWED = "loads_owed"  # loads, reason
    LOADS_LEFT_OUT = "loads_left_out"  # loads
    LOAD_WITHOUT = "load_without"  # parameter, why
    KEEPS_SLO = "keeps_slo"  # requests_per_s, at_all_rates
    SCRIPTED_TIMES = "scripted_times"
    PEAK_MEMORY = "peak_memory"  # bytes, on_device
    LOAD_ENERGY = "load_energy"  # method, idle_watts
    LOAD_ENERGY_UNKNOWN = "load_energy_unknown"  # reason
    PREFIX_CACHE_DEFEATED = "prefix_cache_defeated"
    ONE_AT_A_TIME = "one_at_a_time"
    CACHED_TOKENS_UNTOLD = "cached_tokens_untold"
    TOKENS_DISAGREE = "tokens_disagree"  # n
    LOAD_ENDED_EARLY = "load_ended_early"  # reason, unfinished
    LOAD_SATURATED = "load_saturated"
    ANSWERS_IN_ONE_PIECE = "answers_in_one_piece"  # n
    NO_TPOT = "no_tpot"  # n
    SENT_LATE = "sent_late"  # late_s
    SHORT_ANSWERS = "short_answers"  # tokens, asked
    TOKEN_SECONDS = "token_seconds"  # a, b, c, error_mean, error_max
    TOKEN_SECONDS_UNKNOWN = "token_seconds_unknown"  # reason
    # several runs in one table
    RUN = "run"  # number, name, baseline: None where it needs no naming


@dataclass(frozen=True, slots=True)
class Subject:
    """What a note is about. Both empty: the run."""

    model: str = ""
    tasks: tuple[str, ...] = ()  # none, of a model: all of its tasks


THE_RUN = Subject()


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that a reader must know. Two notes are the same if all of their facts are."""

    code: NoteCode
    level: Level = "info"
    subject: Subject = THE_RUN
    figures: Mapping[str, Figure] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    runs: tuple[int, ...] = ()  # of several runs in one table, from 1: those it is of. None: of all

    def is_of(self, model: str, task: str) -> bool:
        """Returns whether it is about one row: of its model and task, or of its task for every model."""
        return (self.subject.model == model and task in self.subject.tasks) or (
            not self.subject.model and task in self.subject.tasks
        )

    def known(self, name: str) -> float | None:
        """Returns a figure that is a number, or None where it is unknown. Raises TypeError for a text."""
        value = self.figures.get(name)
        if value is None or isinstance(value, int | float):
            return value
        raise TypeError(f"{self.code}: {name} is {value!r}, no number")

    def number(self, name: str) -> float:
        """Returns a figure that is a known number. Raises TypeError for any other."""
        value = self.known(name)
        if value is None:
            raise TypeError(f"{self.code}: {name} is unknown")
        return value

    def text(self, name: str) -> str:
        """Returns a figure that is a text; empty where it has none. Raises TypeError for any other."""
        value = self.figures.get(name)
        if value is None or isinstance(value, str):
            return value or ""
        raise TypeError(f"{self.code}: {name} is {value!r}, no text")

    def names(self, name: str) -> tuple[str, ...]:
        """Returns a figure that is a list of names. Raises TypeError for any other."""
        value = self.figures.get(name, ())
        if isinstance(value, tuple):
            return value
        raise TypeError(f"{self.code}: {name} is {value!r}, no list of names")

    def estimate(self, name: str) -> Estimate:
        """Returns an estimate. Raises TypeError where there is none of that name."""
        if name not in self.estimates:
            raise TypeError(f"{self.code}: {name} is unknown")
        return self.estimates[name]

    def flag(self, name: str) -> bool:
        """Returns whether a figure is true."""
        return self.figures.get(name) is True
