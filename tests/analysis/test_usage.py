"""What stands below a table: versions, refusals, settings that were not kept, where recorded answers are from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.analysis.notes import of_models, of_responses
from harness.analysis.spending import spent, spent_together
from harness.analysis.usage import usage_of
from harness.reports.notes import sentence
from harness.store.schema import ChargeLine, ModelLine
from harness.values import Applied, Billing, PaidAttempt, Provider, Response, ResponseLine, Thinking, placed


def line(key: str = "k", model: str = "m", task: str = "t", sample_id: str = "s", **changes: Any) -> ResponseLine:
    values = {"text": "four", "input_tokens": 5, "output_tokens": 2, "billing": Billing(0.01, 0.01), **changes}
    response = Response(key, None, **values)
    return placed(response, (model, task, sample_id, 0), input_characters=20, sent_bytes=21)


def charge(usd: float) -> ChargeLine:
    return ChargeLine(model="m", task="t", mode="generate", phase="latency", usd=usd, most_usd=usd)


def notes(*lines: ResponseLine) -> list[str]:
    return [sentence(note) for note in of_responses(usage_of(lines))]


def test_sums_are_of_the_answers_that_count_and_money_of_every_attempt():
    failed = line(error="cut", provisional=True, text=None, billing=Billing(0.02, 0.02))
    found = usage_of([failed, line(), line("k2", billing=Billing(0.03, 0.03), thinking=Thinking("hm", 1))])["m", "t"]
    assert found.usd == found.known_usd == 0.06 and found.lines == 3 and found.sent_bytes == 63
    assert (found.answers, found.errors, found.provisional) == (2, 0, 0)
    assert (found.input_tokens, found.output_tokens, found.thinking_tokens) == (10, 4, 1)
    assert (found.input_characters, found.output_characters) == (40, 10)


def test_what_is_unknown_is_none_and_what_is_known_of_it_is_kept():
    attempts = (PaidAttempt("cut", 0.01), PaidAttempt("cut", None, most_usd=0.5))
    bill = Billing(None, 0.51, attempts)
    found = usage_of([line(billing=bill), line("k2", output_tokens=None)])["m", "t"]
    assert found.usd is None and found.known_usd == 0.02 and found.most_usd == 0.52
    assert found.output_tokens is None and found.input_tokens == 10


def test_the_version_that_answered_is_named_and_several_with_their_counts():
    one = line(provider=Provider(model_version="m-2026-01-01"))
    assert notes(one, replace(one, key="k2")) == ["m: answered as m-2026-01-01."]
    other = line("k2", provider=Provider(model_version="m-2026-02-02"))
    assert notes(one, other) == ["m: answered as m-2026-01-01 (1 of 2), m-2026-02-02 (1 of 2)."]


def test_what_holds_for_all_tasks_of_a_model_is_said_once():
    version = Provider(model_version="v")
    lines = [line(str(i), task=task, provider=version) for i, task in enumerate(("a", "b", "c"))]
    assert notes(*lines) == ["m: answered as v."]
    lines[2] = replace(lines[2], provider=Provider(model_version="w"))
    assert notes(*lines) == ["m on a, b: answered as v.", "m on c: answered as w."]


def test_a_setting_that_was_refused_is_named_with_what_was_said():
    refused = line(provider=Provider(refused={"temperature": "Only the default (1) is supported."}))
    assert notes(refused) == ["m: no answer with temperature as the task asks: Only the default (1) is supported."]
    assert notes(refused, line("k2")) == [
        "m: 1 of 2 answers not with temperature as the task asks: Only the default (1) is supported."
    ]


def test_refusals_are_counted_by_kind_and_only_the_commonest_are_named():
    kinds = ["bio", "bio", "SAFETY", "content filter: the prompt", "x" * 300]
    lines = [line(str(i), provider=Provider(refusal=kind)) for i, kind in enumerate(kinds)] + [line("last")]
    (note,) = notes(*lines)
    assert note.startswith("m: 5 of 6 answers are refusals by the provider's own signal: bio (2), SAFETY (1), content")
    assert "xxx" not in note


def test_recorded_answers_are_told_with_where_they_are_from():
    (note,) = notes(line(provider=Provider(origin="lm-eval sample log")))
    assert note == "m: nothing was asked: answers from a file (lm-eval sample log), judged here."


def test_answers_missing_from_a_file_are_counted_and_only_the_first_are_named():
    gone = {"error": "no recorded answer", "text": None, "provider": Provider(missing=True)}
    lines = [line(str(i), sample_id=f"s{i}", **(gone if i else {})) for i in range(6)]
    assert notes(*lines) == ["m: 5 of 6 answers are missing from the file: of sample s1, s2, s3 and others."]
    assert notes(line()) == []


def test_what_was_paid_is_summed_over_models_and_requests_beside_the_answers():
    rows = usage_of([line(billing=Billing(0.1, 0.1)), line("k2", model="free", billing=None)])
    charges = [charge(0.02), charge(0.03)]
    found = spent(rows, charges, ["m"])
    assert round(found.usd, 6) == 0.15 and round(found.beside_answers_usd, 6) == 0.05
    assert set(found.by_model) == {"m"} and found.cut_off == ()
    assert spent(rows, charges, []) is None
    found = spent(rows, charges, ["m"], cut_off=["m", "free"])
    assert found.usd is None and round(found.known_usd, 6) == 0.15 and found.cut_off == ("m",)


def test_several_runs_paid_the_sum_of_what_each_paid():
    one = spent(usage_of([line(billing=Billing(0.1, 0.1))]), [], ["m"])
    other = spent(usage_of([line(billing=Billing(None, 0.3), model="n")]), [], ["n"])
    both = spent_together([one, None, one])
    assert both.usd == both.by_model["m"] == 0.2
    unknown = spent_together([one, other])
    assert unknown.usd is None and unknown.known_usd == 0.1 and unknown.most_usd == 0.4
    assert unknown.by_model == {"m": 0.1, "n": None}
    assert spent_together([None, None]) is None


def test_what_the_engine_did_otherwise_than_asked_and_why_it_was_slow_are_said_with_their_answers():
    folded = Applied(otherwise={"system_message": "put before the first user message"})
    slow = Applied(fallback="the model takes no cache")
    said = "m: system message: put before the first user message"
    assert notes(line(applied=folded)) == [f"{said}."]
    assert notes(line(applied=folded), line("k2", applied=slow)) == [
        f"{said} (1 of 2 answers).",
        "m: 1 of 2 answers by the plain method, without shared prefixes: right, and slower (the model takes no cache).",
    ]


def test_what_of_a_models_files_was_not_followed_is_said_once():
    loaded = ModelLine(model="m", load_s=1.0, sealed=None, otherwise={"tokenizer": "it ends every text with </s>"})
    assert [sentence(note) for note in of_models([loaded, loaded])] == ["m: tokenizer: it ends every text with </s>."]
