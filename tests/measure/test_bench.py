from __future__ import annotations

import time

import pytest
from pytest import approx

from harness.errors import BackendError
from harness.measure.load.prompts import Unlike, synthetic_requests
from harness.measure.load.series import Series, loads_owed, most_owed, sweep_rates
from harness.measure.load.summary import LoadSummary
from harness.measure.load.sustained import knee, slo_capacity
from harness.measure.load.timed import Slo
from harness.values import GenerateRequest, Message, Prompt
from tests.support.loads import load, measured, times
from tests.support.servers import Reply, SyntheticServer, stream_to

REQUEST = GenerateRequest(key="k", sample_id="s", prompt=Prompt("hello"), max_tokens=9)


def names(server: SyntheticServer, series: Series) -> list[str]:
    return [found.scenario for found in measured(stream_to(server.url), [REQUEST], series)]


@pytest.mark.slow
def test_a_sweep_goes_from_one_request_over_all_at_once_to_the_rates_between(monkeypatch):
    monkeypatch.setattr("harness.measure.load.series._over", lambda found: False)  # a busy computer ends it sooner
    with SyntheticServer(Reply(ttft_s=0.002)) as server:
        found = names(server, Series(sweep=True, requests=20, warmup=1))
    assert found[:2] == ["single", "offline"]
    assert len(found) == 7 and all(name.startswith("rate") for name in found[2:])


def test_rates_of_a_sweep_are_even_and_stay_below_saturation():
    assert sweep_rates(2.0, 100.0) == approx([1.0, 24.5, 48.0, 71.5, 95.0])


@pytest.mark.slow
def test_concurrency_is_not_raised_when_it_brings_no_more_throughput():
    # every answer waits for the server's one slot of 10 ms: more at a time brings nothing
    free = [0.0]

    def one_slot(order, body):
        now = time.monotonic()
        free[0] = max(now, free[0]) + 0.010
        return Reply(ttft_s=free[0] - now)

    with SyntheticServer(one_slot) as server:
        found = names(server, Series(concurrency=(1, 2, 4, 8, 16, 32), requests=20, warmup=1))
    assert found[0] == "single" and "concurrency 32" not in found


@pytest.mark.slow
def test_higher_rates_are_left_out_after_a_hopeless_one():
    slo = Slo(ttft_s=0.01, attainment=0.9)
    with SyntheticServer(Reply(ttft_s=0.03)) as server:
        found = names(server, Series(single=False, rate=(50.0, 100.0, 200.0), requests=50, slo=slo))
    assert found == ["rate 50"]


@pytest.mark.slow
def test_higher_rates_are_left_out_after_a_saturated_one_without_any_bound():
    free = [0.0]

    def one_slot(order, body):  # 100 a second at most
        now = time.monotonic()
        free[0] = max(now, free[0]) + 0.010
        return Reply(ttft_s=free[0] - now)

    with SyntheticServer(one_slot) as server:
        found = names(server, Series(single=False, rate=(20.0, 300.0, 600.0), requests=30, warmup=1))
    assert found[0] == "rate 20" and "rate 600" not in found


def test_what_is_owed_follows_from_what_was_measured():
    series = Series(concurrency=(1, 2, 4), rate=(9.0, 5.0), offline=True)
    owed = lambda *done: [scenario.name for scenario in loads_owed(series, {row.scenario: row for row in done})]
    single, two = load(scenario="single", requests_per_s=10.0), load(scenario="concurrency 2", requests_per_s=10.1)
    assert owed()[0] == "single" and most_owed(series, {}) == 6
    assert owed(single) == ["concurrency 2", "concurrency 4", "offline", "rate 5", "rate 9"]
    assert owed(single, two) == ["offline", "rate 5", "rate 9"]  # two at a time brought no more
    flood, five = load(scenario="offline"), load(scenario="rate 5", stopped="hopeless: 3 requests")
    assert owed(single, two, flood, five) == []
    assert owed(single, two, flood, load(scenario="rate 5", stopped="time: 600 s are over")) == ["rate 9"]


def test_the_rates_of_a_sweep_are_counted_before_they_are_known():
    series = Series(sweep=True)
    single = load(scenario="single", requests_per_s=2.0)
    assert [most_owed(series, {}), most_owed(series, {"single": single})] == [7, 6]
    done = {"single": single, "offline": load(scenario="offline", requests_per_s=100.0)}
    assert [scenario.level for scenario in loads_owed(series, done)] == approx([1.0, 24.5, 48.0, 71.5, 95.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(status=401), "set the variable named by api_key_env"),
        (Reply(status=429), "ask the provider for a higher limit"),
        (Reply(status=429, retry_after="7"), "wait 7 s, as the server asks"),
        (Reply(status=500), "send the same request by hand"),
        (Reply(garbage_at=0), "no answer to the first request: invalid"),
        (Reply(cut_after=0), "no answer to the first request: cut"),
    ],
)
def test_a_target_that_does_not_answer_is_told_at_once_with_a_fix(reply, message):
    with SyntheticServer(reply) as server, pytest.raises(BackendError, match=message) as caught:
        names(server, Series())
    assert server.url in str(caught.value)
    assert len(server.bodies) == 1


def test_a_server_that_is_not_there_is_told_at_once():
    with SyntheticServer() as server:
        pass
    with pytest.raises(BackendError, match="start the server, or mend the address"):
        names(server, Series())


def test_no_two_requests_share_a_beginning_when_a_prefix_cache_must_not_help():
    turns = GenerateRequest("k", "s", Prompt(messages=(Message("system", "Be brief."), Message("user", "hi"))))
    endless = Unlike([REQUEST, turns])
    sent = [endless[i] for i in range(200)]
    opening = [r.prompt.turns[0].content for r in sent]
    assert len({text[:8] for text in opening}) == 200
    assert opening[0].endswith("hello") and opening[1].endswith("Be brief.")
    assert sent[0] == Unlike([REQUEST, turns])[0]  # repeatable
    assert endless[0].prompt.text not in opening  # and not met again in a second scenario


def test_synthetic_prompts_have_their_length_and_no_common_beginning():
    for count in (None, lambda text: len(text.split()), lambda text: round(1.4 * len(text.split()))):
        made = synthetic_requests(200, 30, 5, count=count)
        for request in made:
            length = (count or (lambda text: len(text.split())))(request.prompt.text)
            assert length == approx(200, abs=4)
        assert {r.max_tokens for r in made} == {30}
        assert len({r.prompt.text[:40] for r in made}) == 5


def row(level: float, rate: float, response: float, attainment: float | None = None, **more) -> LoadSummary:
    good = None if attainment is None else rate * attainment
    known = {"attainment": attainment, "goodput_per_s": good, "saturated": False}
    return load(kind="rate", level=level, requests_per_s=rate, response_s=times(mean=response), **{**known, **more})


def test_the_knee_is_where_throughput_still_pays_for_waiting():
    assert knee([row(1, 1, 0.1), row(5, 5, 0.12), row(9, 9, 0.5), row(10, 9.5, 4.0)]) == 1
    assert knee([row(5, 5, 0.12), row(9, 9, 0.13, stopped="hopeless: 3"), row(9, 9, 0.13, saturated=True)]) == 0
    assert knee([]) is None


def test_the_capacity_within_bounds_is_the_highest_rate_that_met_them():
    points = [row(1, 1, 0.1, 1.0), row(5, 5, 0.2, 0.96), row(9, 8, 2.0, 0.3), row(8, 7, 1.0, 0.97, stopped="hopeless")]
    assert slo_capacity(points, Slo(ttft_s=0.2, attainment=0.9)) == approx(4.8)
    assert slo_capacity(points[2:3], Slo(attainment=0.9)) is None
    assert slo_capacity([row(5, 50, 0.2, 1.0)], Slo(attainment=0.9)) == 5  # a burst is no capacity
    assert slo_capacity([row(9, 7, 0.2, 1.0, saturated=True)], Slo(attainment=0.9)) is None
