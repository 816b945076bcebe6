"""Rate, retries, clocks and money, with attempts that are plain functions: no server, no network."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from harness.backends.servers import hold
from harness.backends.servers.dispatch import Answer, AttemptFailed, Purse, run
from harness.backends.servers.tariff import Tariff, planned, price_of
from harness.backends.servers.waits import retry_after
from harness.config.model import LimitsConfig, model_of
from harness.cost.prices import TokenCount
from harness.errors import BackendError, LimitReached, WorkStopped
from harness.values import GenerateRequest, Message, Prompt, Request, Response

MODEL = model_of(name="m", backend="openai", price={"input": 1.0, "output": 10.0})


def tariff() -> Tariff:
    return planned(MODEL, price_of(MODEL))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.002)


def requests(n: int, **changes) -> list[Request]:
    return [GenerateRequest(f"k{i}", str(i), Prompt("hi"), **{"max_tokens": 10, **changes}) for i in range(n)]


def answer(request: Request, used: TokenCount | None = TokenCount(100, 5)) -> Answer:  # noqa: B008
    return Answer(Response(request.key, None, text="ok"), used)


class Script:
    """Fails each request as told, then answers; counts what was asked, and how much at once."""

    def __init__(self, *failures: AttemptFailed, seconds: float = 0.0) -> None:
        self.failures, self.seconds = failures, seconds
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def __call__(self, request: Request, attempt) -> Answer:
        with self.lock:
            number = self.asked[request.key]
            self.asked[request.key] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.seconds)
        with self.lock:
            self.at_once -= 1
        if number < len(self.failures):
            raise self.failures[number]
        return answer(request)


def outcomes(response: Response) -> list[str]:
    return [line.outcome for line in response.attempts]


def test_each_request_is_answered_once_and_no_more_run_at_once_than_allowed():
    script = Script(seconds=0.002)
    responses = list(run(requests(40), script, limits=LimitsConfig(concurrency=5)))
    assert sorted(r.key for r in responses) == sorted(f"k{i}" for i in range(40))
    assert set(script.asked.values()) == {1}
    assert 1 < script.most_at_once <= 5


def test_a_failure_is_tried_again_and_every_attempt_is_kept():
    script = Script(AttemptFailed("http 500", "a"), AttemptFailed("cut", "b"))
    (response,) = run(requests(1), script, limits=LimitsConfig())
    assert response.text == "ok"
    assert outcomes(response) == ["http 500", "cut", "answered"]
    assert all(line.waited_s > 0 for line in response.attempts[1:])


def test_the_same_failure_three_times_fails_the_sample_and_not_the_run():
    def ask(request, attempt):
        if request.key == "k1":
            raise AttemptFailed("http 500", "always the same")
        return answer(request)

    responses = {r.key: r for r in run(requests(3), ask, limits=LimitsConfig(attempts=50))}
    assert responses["k0"].error is responses["k2"].error is None
    assert responses["k1"].error == "http 500: always the same (3 times)"
    assert len(outcomes(responses["k1"])) == 3


def test_different_failures_end_with_the_number_of_attempts():
    script = Script(*(AttemptFailed("http 500", str(i)) for i in range(9)))
    (response,) = run(requests(1), script, limits=LimitsConfig(attempts=4))
    assert "the last of 4 attempts" in response.error and script.asked["k0"] == 4


def test_what_cannot_get_better_is_not_tried_again():
    (response,) = run(requests(1), Script(AttemptFailed("http 400", "bad", retry=False)), limits=LimitsConfig())
    assert response.error == "http 400: bad" and len(outcomes(response)) == 1


def test_a_refusal_for_rate_holds_everything_back_as_long_as_asked():
    script = Script(AttemptFailed("http 429", wait_s=0.3, busy=True, billed=False))
    responses = list(run(requests(8), script, limits=LimitsConfig(concurrency=8)))
    assert all(outcomes(r) == ["http 429", "answered"] for r in responses)
    assert all(r.attempts[1].waited_s >= 0.29 for r in responses)


def test_a_refusal_for_rate_holds_back_requests_that_were_not_sent_yet():
    moments: list[float] = []

    def ask(request, attempt):
        moments.append(time.perf_counter())
        if len(moments) == 1:
            raise AttemptFailed("http 429", wait_s=0.2, busy=True, billed=False)
        return answer(request)

    assert len(list(run(requests(4), ask, limits=LimitsConfig(concurrency=1)))) == 4
    assert moments[1] - moments[0] >= 0.19


def test_the_flow_narrows_to_what_the_server_takes():
    script, refused = Script(seconds=0.004), []

    def ask(request, attempt):
        if script.at_once >= 2:
            refused.append(attempt.in_flight)
            raise AttemptFailed("http 429", busy=True, billed=False)
        return script(request, attempt)

    responses = list(run(requests(60), ask, limits=LimitsConfig(concurrency=16, attempts=50)))
    assert all(r.error is None for r in responses)
    assert max(refused[:14]) > 8 and max(refused[-3:]) < 6  # at first all are sent at once, later only a few


def test_a_server_that_takes_no_more_requests_stops_the_work_when_a_samples_clock_has_run():
    script = Script(*[AttemptFailed("http 429", busy=True, billed=False)] * 99)
    with pytest.raises(WorkStopped, match=r"nothing was answered for 0.1 s: http 429(.|\n)*goes on where it stopped"):
        list(run(requests(3), script, limits=LimitsConfig(attempts=5, sample_s=0.1)))


@pytest.mark.parametrize("asked", [0.0, None])
def test_a_server_that_asks_for_no_wait_is_given_one_that_doubles(asked):
    script = Script(*[AttemptFailed("http 429", wait_s=asked, busy=True, billed=False)] * 8)
    (response,) = run(requests(1), script, limits=LimitsConfig(attempts=2))
    waits = [line.waited_s for line in response.attempts[1:]]
    assert response.text == "ok" and len(waits) == 8 and waits[-1] > 8 * waits[0] > 0


def test_a_wait_of_a_day_stops_the_work_at_once_and_says_until_when():
    def ask(request, attempt):
        if request.key in ("k0", "k1"):
            return answer(request)
        raise AttemptFailed("http 429", "Daily limit", wait_s=86400.0, busy=True, billed=False)

    seen = []
    with pytest.raises(WorkStopped, match=r"no more requests until 2\d{3}-\d\d-\d\d \d\d:\d\d UTC: http 429: D"):
        seen.extend(run(requests(400), ask, limits=LimitsConfig(concurrency=1)))
    assert not seen or all(r.error is None for r in seen)


class Outage:
    """Nobody answers from the third attempt on, until so many have tried it."""

    def __init__(self, length: int, **failure) -> None:
        self.left, self.asked, self.at_once, self.failure = length, 0, [], failure

    def __call__(self, request: Request, attempt) -> Answer:
        self.asked += 1
        if self.asked > 2 and self.left > 0:
            self.left -= 1
            self.at_once.append(attempt.in_flight)
            raise AttemptFailed(**{"kind": "refused", "absent": True, "billed": False, **self.failure})
        return answer(request)


@pytest.mark.parametrize("failure", [{}, {"kind": "http 503", "wait_s": 0.0}, {"kind": "cut", "billed": True}])
def test_an_outage_costs_no_sample_however_often_it_is_met(failure):
    outage = Outage(12, **failure)
    responses = list(run(requests(12), outage, limits=LimitsConfig(concurrency=4, attempts=2)))
    assert len(responses) == 12 and all(r.error is None for r in responses)
    assert set(outage.at_once[4:]) == {1}  # one at a time asks whether anybody is there


def test_whoever_waits_is_told_once_that_nobody_answers_and_once_that_it_is_over(monkeypatch, caplog):
    monkeypatch.setattr(hold, "TOLD_AFTER_S", 0.01)
    caplog.set_level("WARNING", "harness")
    list(run(requests(4), Outage(9), limits=LimitsConfig(concurrency=2), where="m at host"))
    assert [("does not answer" in line, "answers again" in line) for line in caplog.messages] == [(1, 0), (0, 1)]
    assert all(line.startswith("m at host") for line in caplog.messages)


def test_a_server_that_stays_away_stops_the_work_and_what_is_left_is_owed():
    seen = []
    with pytest.raises(WorkStopped, match=r"nothing was answered for 0\.2 s: refused"):
        for response in run(requests(9), Outage(10**9), limits=LimitsConfig(concurrency=1, sample_s=0.2)):
            seen.append(response)
    assert [r.error for r in seen] == [None, None]


def test_a_request_that_brings_the_server_down_fails_alone():
    down = [False]

    def ask(request, attempt):
        if request.key == "k3":
            down[0] = True
            raise AttemptFailed("cut", absent=True)
        if down[0]:
            down[0] = False
            raise AttemptFailed("refused", absent=True, billed=False)
        return answer(request)

    responses = {r.key: r for r in run(requests(30), ask, limits=LimitsConfig(concurrency=3, attempts=3))}
    assert [key for key, r in responses.items() if r.error is not None] == ["k3"] and responses["k3"].provisional


def test_an_account_without_credit_stops_the_work_after_answers_too_and_keeps_what_was_paid():
    broke = WorkStopped("the account has no credit left")

    def ask(request, attempt):
        if request.key == "k0":
            return answer(request)
        if attempt.number == 1:
            raise AttemptFailed("cut", used=TokenCount(100, 2))
        raise AttemptFailed("http 402", retry=False, billed=False, fatal=broke)

    seen = []
    with pytest.raises(WorkStopped, match="no credit"):
        for response in run(requests(50), ask, limits=LimitsConfig(concurrency=1), tariff=tariff()):
            seen.append(response)
    assert seen[0].error is None and len(seen) < 50
    assert all(r.provisional and r.usd == pytest.approx(120e-6) for r in seen[1:]) and len(seen) > 1


def test_a_refused_parameter_is_no_attempt_of_the_few_that_a_sample_has():
    script = Script(
        *[AttemptFailed("refused parameter", str(i), free=True, billed=False, wait_s=0.0) for i in range(5)]
    )
    (response,) = run(requests(1), script, limits=LimitsConfig(attempts=2))
    assert response.text == "ok" and len(outcomes(response)) == 6


def test_a_wait_longer_than_the_sample_may_take_is_not_waited():
    began = time.perf_counter()
    script = Script(AttemptFailed("http 500", wait_s=3600))
    (response,) = run(requests(1), script, limits=LimitsConfig(sample_s=5))
    assert "the next attempt would be after 5 s" in response.error and time.perf_counter() - began < 5


def test_an_attempt_that_hangs_is_abandoned_and_what_it_brings_later_is_not_read():
    release, seen = threading.Event(), []

    def ask(request, attempt):
        if request.key == "k0":
            release.wait(10)
            seen.append(attempt.abandoned.is_set())
        return answer(request)

    responses = {r.key: r for r in run(requests(4), ask, limits=LimitsConfig(sample_s=0.2, concurrency=2))}
    release.set()
    assert responses["k0"].error == "no answer within 0.2 s" and outcomes(responses["k0"]) == ["abandoned"]
    assert responses["k0"].usd is None  # it may have been billed: unknown, not nothing
    assert [responses[f"k{i}"].error for i in (1, 2, 3)] == [None] * 3


def test_what_concerns_every_request_stops_the_run_before_anything_is_answered():
    wrong_key = BackendError("the server refuses the key", fix="check the key")
    script = Script(*[AttemptFailed("http 401", retry=False, billed=False, fatal=wrong_key)] * 9)
    with pytest.raises(BackendError, match="refuses the key"):
        list(run(requests(50), script, limits=LimitsConfig(concurrency=3)))
    assert sum(script.asked.values()) <= 6


def test_the_same_after_an_answer_fails_its_sample_only():
    def ask(request, attempt):
        if request.key == "k2":
            raise AttemptFailed("http 403", retry=False, fatal=BackendError("no"))
        return answer(request)

    responses = list(run(requests(4), ask, limits=LimitsConfig(concurrency=1)))
    assert [r.error for r in responses] == [None, None, "http 403", None]
    assert responses[2].provisional  # with another key it may be answered


def test_our_own_mistakes_keep_their_traceback():
    def ask(request, attempt):
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        list(run(requests(3), ask, limits=LimitsConfig()))


def test_every_attempt_is_paid_for_and_a_refusal_costs_nothing():
    script = Script(
        AttemptFailed("http 429", busy=True, billed=False), AttemptFailed("cut", used=TokenCount(100, 2)), seconds=0
    )
    (response,) = run(requests(1), script, limits=LimitsConfig(), tariff=tariff())
    assert [line.usd for line in response.attempts] == pytest.approx([0, 120e-6, 150e-6])
    assert response.usd == pytest.approx(270e-6)


def test_a_price_or_usage_that_is_unknown_makes_the_cost_unknown_not_nothing():
    (response,) = run(requests(1), Script(), limits=LimitsConfig())
    assert response.usd is None
    (response,) = run(requests(1), lambda r, a: answer(r, None), limits=LimitsConfig(), tariff=tariff())
    assert response.usd is None


def test_nothing_is_sent_that_could_exceed_the_spend_limit():
    worst = tariff().most_usd(requests(1)[0])
    cost = 150e-6
    limit = 10 * cost + worst
    script, seen = Script(seconds=0.001), []
    with pytest.raises(LimitReached) as caught:
        many, limits = requests(1000), LimitsConfig(concurrency=4)
        for response in run(many, script, limits=limits, tariff=tariff(), purse=Purse(limit)):
            seen.append(response)
    assert "the spend limit is reached: the next request could cost $" in str(caught.value)
    assert "raise `max_cost`" in str(caught.value)
    assert sum(r.usd for r in seen) <= limit
    assert len(seen) == sum(script.asked.values()) == 11  # every one that was paid for came out


def test_what_may_have_been_charged_counts_as_the_most_it_can_be():
    seen, worst = [], tariff().most_usd(requests(1)[0])
    with pytest.raises(LimitReached, match="the spend limit"):
        limits, purse = LimitsConfig(concurrency=1), Purse(3.5 * worst)
        for response in run(requests(100), lambda r, a: answer(r, None), limits=limits, tariff=tariff(), purse=purse):
            seen.append(response)
    assert len(seen) == 3
    assert [r.billing.most_usd for r in seen] == pytest.approx([worst] * 3)


def test_what_was_spent_holds_for_all_calls_of_a_purse():
    purse = Purse(2 * 150e-6 + tariff().most_usd(requests(1)[0]))
    for _ in range(3):
        assert len(list(run(requests(1), Script(), limits=LimitsConfig(), tariff=tariff(), purse=purse))) == 1
    with pytest.raises(LimitReached):
        list(run(requests(1), Script(), limits=LimitsConfig(), tariff=tariff(), purse=purse))


def test_a_usage_that_cannot_be_true_costs_nobody_knows_what_and_at_most_what_it_claims():
    doubted = lambda request, attempt: Answer(Response(request.key, None, text="ok"), TokenCount(7, 10**6), True)
    (response,) = run(requests(1), doubted, limits=LimitsConfig(), tariff=tariff())
    assert response.usd is None and response.billing.most_usd == pytest.approx(10.000007)


def test_only_what_another_day_may_mend_is_transient():
    (gone,) = run(requests(1), Script(*[AttemptFailed("connection")] * 9), limits=LimitsConfig())
    (bad,) = run(requests(1), Script(AttemptFailed("http 400", "bad", retry=False)), limits=LimitsConfig())
    assert gone.provisional and not bad.provisional


def test_a_batch_without_a_batch_price_costs_at_most_the_usual_price():
    assert tariff().most_usd(requests(1)[0], "batch") == tariff().most_usd(requests(1)[0]) > 0


def test_the_most_a_request_can_cost_is_above_what_it_does_cost():
    text = GenerateRequest("k", "s", Prompt("naïve ☃" * 10), max_tokens=7)
    assert tariff().most_usd(text) >= (len(("naïve ☃" * 10).encode()) * 1.0 + 7 * 10.0) / 1e6
    turns = GenerateRequest(
        "k", "s", Prompt(messages=(Message("user", "a" * 50), Message("assistant", "b" * 50))), max_tokens=7
    )
    assert tariff().most_usd(turns) >= (100 * 1.0 + 7 * 10.0) / 1e6


def test_a_consumer_that_stops_leaves_nothing_waiting():
    attempts = []

    def ask(request, attempt):
        attempts.append(attempt)
        if request.key != "k0":
            attempt.abandoned.wait(10)
        return answer(request)

    responses = run(requests(6), ask, limits=LimitsConfig(concurrency=3))
    next(responses)
    responses.close()
    assert all(attempt.abandoned.is_set() for attempt in attempts if attempt is not attempts[0])


def test_retry_after_is_seconds_or_a_date():
    now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    cases = {"7": 7.0, "0.5": 0.5, "-3": None, "Thu, 01 Jan 2026 12:00:30 GMT": 30.0, "soon": None, "": None}
    assert {value: retry_after(value, now) for value in cases} == cases
