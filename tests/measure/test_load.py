"""The load generator against targets in virtual time: exact moments, and queues with textbook answers."""

from __future__ import annotations

import asyncio
import gc
import math
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import accumulate

import pytest
from pytest import approx

from harness.backends.servers.replies import Piece, Told
from harness.measure.load.drive import (
    FAILURES_IN_A_ROW,
    OPEN_CONNECTIONS,
    drive,
    run_load,
)
from harness.measure.load.scenario import Scenario
from harness.measure.load.summary import Tally, load_summary
from harness.measure.load.target import InProcess, RequestFailed
from harness.measure.load.timed import Slo, Timed, Usage
from harness.values import GenerateRequest, Prompt, Request, Response
from tests.support.servers import count_tokens
from tests.support.virtual import run

REQUESTS = [GenerateRequest(key=f"k{i}", sample_id=f"s{i}", prompt=Prompt("p")) for i in range(3)]


class Plain:
    """Sends `tokens` tokens, one a chunk: the first after `ttft`, the others `gap` apart. `slots` serve at a time."""

    streams = True

    def __init__(self, *, ttft=0.2, gap=0.05, tokens=11, slots=10_000, stall=(0.0, 0.0), fail=None, usage=True):
        self.ttft, self.gap, self.tokens, self.slots = ttft, gap, tokens, slots
        self.stall, self.fail, self.usage = stall, fail, usage

    async def __aenter__(self):
        self.free = asyncio.Semaphore(self.slots)
        self.sent = 0
        return self

    async def __aexit__(self, *exc):
        pass

    async def round_trip(self):
        return None

    async def wait(self, seconds: float) -> float:
        """Waits, and through the stall if it falls into that time."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(seconds)
        begin, end = self.stall
        if begin <= loop.time() < end:
            await asyncio.sleep(end - loop.time())
        return loop.time()

    async def send(self, request: Request) -> AsyncIterator[Piece]:
        order, self.sent = self.sent, self.sent + 1
        async with self.free:
            if self.fail and self.fail(order):
                await asyncio.sleep(0.01)
                raise RequestFailed("http 500", "told to fail")
            for i in range(self.tokens):
                yield Piece(t=await self.wait(self.gap if i else self.ttft), text="tok ")
            if self.usage:
                yield Piece(t=asyncio.get_running_loop().time(), told=Told(7, self.tokens))


class Scripted(Plain):
    """Sends the chunks given as (seconds after the last, chunk without its time)."""

    def __init__(self, *script):
        super().__init__()
        self.script = script

    async def send(self, request):
        for seconds, fields in self.script:
            yield Piece(t=await self.wait(seconds), **fields)


def summary(target, scenario, **options):
    done = run(drive(target, REQUESTS, scenario, **options))
    return load_summary(done)


def one(target, **options) -> Timed:
    return run(drive(target, REQUESTS, Scenario("concurrency", requests=1, warmup=0), **options)).timed[0]


# --- the moments of one request -------------------------------------------------------------------------------------


def test_a_planted_schedule_is_recovered():
    timed = one(Plain(ttft=0.2, gap=0.05, tokens=11))
    assert timed.ttft_s == approx(0.2)
    assert timed.tpot_s == approx(0.05)
    assert timed.gaps_s == approx([0.05] * 10)
    assert timed.service_s == timed.response_s == approx(0.7)
    assert (timed.chunks, timed.streamed) == (11, 11)


@pytest.mark.parametrize(
    ("last", "tokens", "at_once", "tpot"), [(0.2, 5, True, None), (0.2, 1, False, None), (0.6, 5, False, approx(0.1))]
)
def test_several_tokens_at_one_moment_have_no_tpot(last, tokens, at_once, tpot):
    moments = {"t_sched": 0.0, "t_send": 0.0, "t_first": 0.2, "t_last": last, "t_end": 1.0}
    timed = Timed(index=0, key="k", sample_id="s", **moments, counted=tokens)
    assert (timed.at_once, timed.tpot_s) == (at_once, tpot)
    assert timed.meets(Slo(ttft_s=0.3, tpot_s=0.05)) == (tpot is None)  # nobody can say that it missed


def test_tokens_that_come_several_in_a_chunk_do_not_change_tpot():
    chunks = [(0.2, {"text": "tok "})] + [(0.25, {"text": "tok " * 5})] * 2 + [(0.0, {"told": Told(7, 11)})]
    timed = one(Scripted(*chunks))
    assert timed.tpot_s == approx(0.05)
    assert timed.gaps_s == approx([0.25, 0.25])


def test_thinking_counts_for_the_first_token_and_the_first_answer_stands_beside_it():
    timed = one(Scripted((0.2, {"thinking": "hm"}), (0.3, {"thinking": "hm"}), (0.4, {"text": "yes"})))
    assert timed.ttft_s == approx(0.2)
    assert timed.t_first_answer - timed.t_send == approx(0.9)


def test_an_empty_first_chunk_is_no_token():
    timed = one(Scripted((0.0, {}), (0.2, {"text": "yes"})))
    assert (timed.ttft_s, timed.chunks) == (approx(0.2), 1)


def test_without_usage_our_own_count_stands():
    timed = one(Plain(usage=False), count=count_tokens)
    assert (timed.usage, timed.counted, timed.tpot_s) == (None, 11, approx(0.05))


def test_chunks_are_never_taken_for_tokens():
    timed = one(Plain(usage=False))
    assert (timed.chunks, timed.streamed, timed.tpot_s) == (11, None, None)


@pytest.mark.parametrize("lie", [5, 22, 1000])
def test_a_server_that_lies_in_usage_is_caught_and_does_not_move_tpot(lie):
    chunks = [(0.2, {"text": "tok "})] + [(0.05, {"text": "tok "})] * 10 + [(0.0, {"told": Told(7, lie)})]
    timed = one(Scripted(*chunks), count=count_tokens)
    assert timed.usage_differs
    assert (timed.streamed, timed.tpot_s) == (11, approx(0.05))
    assert timed.usage.output_tokens == lie  # what would be billed is kept


@pytest.mark.parametrize("lie", [Told(7, 11, cache_read=8), Told(7, 11, reasoning=12), Told(7, 11, -1)])
def test_usage_whose_parts_are_larger_than_the_whole_is_reported_and_its_parts_are_not_summed(lie):
    class Liar(Plain):
        async def send(self, request):
            async for chunk in super().send(request):
                yield replace(chunk, told=chunk.told and lie)

    found = summary(Liar(), Scenario("concurrency", requests=20), count=count_tokens)
    assert (found.usage_differs, found.tpot_s.p50) == (20, approx(0.05))
    assert (found.cached_tokens, found.reasoning_tokens, found.output_tokens) == (None, None, 220)


def test_a_count_off_by_the_end_token_is_believed():
    chunks = [(0.1, {"text": "tok "})] * 11 + [(0.0, {"told": Told(7, 12)})]
    timed = one(Scripted(*chunks), count=count_tokens)
    assert (timed.usage_differs, timed.streamed) == (False, 12)


def test_thinking_that_is_billed_but_not_streamed_does_not_move_tpot():
    chunks = [(2.0, {"text": "tok "})] + [(0.05, {"text": "tok "})] * 10
    for count in (count_tokens, None):
        timed = one(Scripted(*chunks, (0.0, {"told": Told(7, 411, reasoning=400)})), count=count)
        assert (timed.streamed, timed.usage_differs, timed.tpot_s) == (11, False, approx(0.05))


def test_no_tokens_at_all_is_an_empty_answer_and_no_latency():
    timed = one(Scripted((0.3, {"told": Told(7, 0)})))
    assert (timed.error, timed.ttft_s, timed.tpot_s, timed.service_s) == (None, None, None, approx(0.3))
    assert not timed.meets(Slo(ttft_s=10))


def test_a_failure_is_written_down_with_its_kind():
    timed = one(Plain(fail=lambda order: True))
    assert (timed.error, timed.ttft_s) == ("http 500", None)
    assert not timed.meets(Slo())


# --- scenarios ------------------------------------------------------------------------------------------------------


def test_a_single_stream_summary_gives_back_what_was_planted():
    found = summary(Plain(), Scenario("concurrency", requests=200, warmup=3))
    assert found.scenario == "single"
    assert found.n == 200
    assert [found.ttft_s.p50, found.ttft_s.p95] == approx([0.2, 0.2])
    assert found.tpot_s.p50 == approx(0.05)
    assert found.gap_s.p99 == approx(0.05)
    assert found.response_s.p95 == approx(0.7)
    assert found.ttft_s.p99 is None  # 200 values are too few
    assert found.user_tokens_per_s_p50 == approx(20)
    assert found.requests_per_s == approx(1 / 0.7)
    assert found.system_output_tokens_per_s == approx(11 / 0.7)
    assert found.system_input_tokens_per_s == approx(7 / 0.7)
    assert found.late_s.max == approx(0.0)
    assert (found.output_tokens, found.usage_differs, found.failed) == (2200, 0, {})


def test_user_speed_and_system_speed_part_under_concurrency():
    found = summary(Plain(), Scenario("concurrency", level=8, requests=80, warmup=8))
    assert found.user_tokens_per_s_p50 == approx(20)
    assert found.system_output_tokens_per_s == approx(8 * 11 / 0.7)


def test_arrivals_are_a_poisson_process_and_are_sent_when_due_however_slow_the_server():
    slow = Plain(ttft=30.0, tokens=1)
    done = run(drive(slow, REQUESTS, Scenario("rate", level=2.0, requests=500, warmup=0, seed=3)))
    rng = random.Random(3)
    gaps = [rng.expovariate(2.0) for _ in range(500)]
    due = list(accumulate(gap * 250 / sum(gaps) for gap in gaps))
    counted = sorted((t for t in done.timed if t.index in done.measured), key=lambda t: t.index)
    assert [t.t_sched for t in counted] == approx(due)
    # memoryless: of gaps of 0.5 s on average a share exp(-t / 0.5) is longer than t
    for t in (0.1, 0.5, 1.5):
        assert sum(gap > t for gap in gaps) / 500 == approx(math.exp(-t / 0.5), abs=0.06)
    # at most the loop's clock tick late; sent all the same with about sixty requests out
    assert max(t.t_send - t.t_sched for t in done.timed) < 0.002


@pytest.mark.parametrize("seed", range(5))
def test_a_short_run_has_the_rate_it_is_named_after(seed):
    scenario = Scenario("rate", level=2.0, requests=20, warmup=5, seed=seed)
    done = run(drive(Plain(ttft=0.0, tokens=1), REQUESTS, scenario))
    due = sorted(t.t_sched for t in done.timed)
    assert due[-1] - due[4] == approx(20 / 2.0)


@pytest.mark.slow
def test_response_time_of_one_server_with_poisson_arrivals_is_that_of_queueing_theory():
    # M/D/1: wait = rho S / (2 (1 - rho)); S = 0.1, rho = 0.7 -> response 0.2167
    found = summary(Plain(ttft=0.1, tokens=1, slots=1), Scenario("rate", level=7.0, requests=30_000, max_seconds=1e6))
    assert found.response_s.mean == approx(0.1 + 0.7 * 0.1 / (2 * 0.3), rel=0.05)


@pytest.mark.parametrize(
    ("scenario", "caught"),
    [
        (Scenario("concurrency", requests=100, warmup=0), 1),
        (Scenario("concurrency", level=4, requests=100, warmup=0), 4),
        (Scenario("rate", level=4.0, requests=100, warmup=0), 12),  # about 4 a second for 5 s, and those in service
        (Scenario("offline", requests=20, warmup=0), 20),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else "",
)
def test_a_stall_of_the_server_shows_in_the_response_time_of_all_it_delayed(scenario, caught):
    begin = 0.3 if scenario.kind == "offline" else 3.0
    calm = summary(Plain(), scenario)
    stalled = run(drive(Plain(stall=(begin, begin + 5.0)), REQUESTS, scenario))
    late = [t for t in stalled.timed if t.response_s > calm.response_s.max + 0.5]
    assert len(late) >= caught
    assert load_summary(stalled).response_s.max == approx(5.35, abs=0.4)


def test_waiting_for_a_turn_offline_is_in_the_response_time():
    found = summary(Plain(ttft=1.0, tokens=1, slots=2), Scenario("offline", requests=20, warmup=0))
    assert found.response_s.max == approx(10.0)
    assert found.requests_per_s == approx(2.0)


def test_a_request_that_waited_in_the_client_counts_from_when_it_was_due():
    # all are due at once; those beyond the open connections are sent a second later
    done = run(
        drive(Plain(ttft=1.0, tokens=1), REQUESTS, Scenario("offline", requests=OPEN_CONNECTIONS + 10, warmup=0))
    )
    waited = [t for t in done.timed if t.t_send > 0.5]
    assert len(waited) == 10
    for timed in waited:
        assert (timed.service_s, timed.response_s) == (approx(1.0), approx(2.0))


def test_a_generator_that_was_itself_held_up_does_not_hide_it():
    def slow_judge(request: Request, text: str) -> float:
        asyncio.get_running_loop()._now += 0.5  # as a garbage collection, or a scorer that blocks
        return 1.0

    found = summary(Plain(ttft=0.1, tokens=1), Scenario("rate", level=1.9, requests=200, warmup=0), judge=slow_judge)
    assert found.late_s.max > 0.5
    assert found.response_s.mean - found.service_s.mean == approx(found.late_s.mean)


def test_warm_up_and_cool_down_are_in_no_percentile():
    slow_first = Plain(ttft=0.1, tokens=1, stall=(0.0, 5.0))
    found = summary(slow_first, Scenario("concurrency", requests=50, warmup=1, cooldown=4))
    assert (found.n, found.response_s.max) == (50, approx(0.1))


def test_the_last_requests_of_a_rate_meet_the_load_of_the_first():
    done = run(drive(Plain(ttft=3.0, tokens=1), REQUESTS, Scenario("rate", level=2.0, requests=40, warmup=5)))
    last = max(t.t_end for t in done.timed if t.index in done.measured)
    after = [t.t_sched for t in done.timed if t.index >= done.measured.stop]
    assert (done.measured, load_summary(done).n) == (range(5, 45), 40)
    assert len(after) == approx(2.0 * 3.0, abs=4) and max(after) < last  # as long as they were out, and no longer
    slow = run(drive(Plain(slots=1), REQUESTS, Scenario("rate", level=9.0, requests=40, warmup=5)))
    assert slow.issued == 5 + 40 + 40  # at most as many again


def test_a_scenario_lasts_for_its_seconds_when_its_requests_are_done_sooner():
    done = run(drive(Plain(), REQUESTS, Scenario("concurrency", requests=5, seconds=70.0, warmup=0)))
    assert done.issued == 100 or done.issued == 101


# --- goodput --------------------------------------------------------------------------------------------------------


def test_goodput_counts_what_was_in_time_and_quality_goodput_what_was_also_right():
    # every third answer is wrong; two of 40 are stalled
    def judge(request: Request, text: str) -> float:
        return float(request.sample_id != "s0")

    slo = Slo(ttft_s=0.5, tpot_s=0.1, attainment=0.5)
    scenario = Scenario("concurrency", level=2, requests=40, warmup=0, slo=slo)
    found = summary(Plain(stall=(1.0, 4.0)), scenario, judge=judge)
    assert found.attainment == approx(38 / 40)
    assert found.goodput_per_s == approx(38 / found.window_s)
    assert 0.6 * found.goodput_per_s < found.quality_goodput_per_s < 0.72 * found.goodput_per_s


def test_goodput_is_the_speed_of_the_system_where_everything_is_in_time():
    scenario = Scenario("concurrency", level=4, requests=20, warmup=4, cooldown=4, slo=Slo(response_s=1.0))
    found = summary(Plain(), scenario)
    assert (found.n, found.attainment) == (20, 1.0)
    assert found.goodput_per_s == found.requests_per_s == approx(4 / 0.7)


def test_failures_miss_every_bound():
    slo = Slo(attainment=0.1)
    found = summary(Plain(fail=lambda order: order % 2 == 0), Scenario("concurrency", requests=40, warmup=0, slo=slo))
    assert found.failed == {"http 500": 20}
    assert found.attainment == approx(0.5)


def test_quality_goodput_of_answers_nobody_judged_is_unknown():
    found = summary(Plain(), Scenario("concurrency", requests=20, slo=Slo(ttft_s=1)))
    assert found.goodput_per_s > 0 and found.quality_goodput_per_s is None


# --- ends -----------------------------------------------------------------------------------------------------------


def test_a_saturated_server_ends_the_scenario_and_what_is_out_is_not_forgotten():
    scenario = Scenario("rate", level=10.0, requests=10_000, warmup=0, max_out=50)
    done = run(drive(Plain(ttft=1.0, tokens=1, slots=1), REQUESTS, scenario))
    assert done.stopped == "saturated: more than 50 requests are out"
    assert len(done.timed) == done.issued < 80
    assert load_summary(done).failed["unfinished"] >= 50


def test_a_hopeless_bound_ends_the_scenario():
    scenario = Scenario("rate", level=10.0, requests=1000, warmup=5, slo=Slo(ttft_s=0.1, attainment=0.95))
    done = run(drive(Plain(ttft=0.2), REQUESTS, scenario))
    assert done.stopped == "hopeless: 51 requests have missed the bounds already"
    assert done.issued < 100


@pytest.mark.parametrize(
    ("level", "slots", "ttft", "saturated"),
    [(10.0, 1, 0.2, True), (10.0, 3, 0.4, True), (4.0, 1, 0.2, False), (2.0, 10_000, 30.0, False)],
    ids=["twice too much", "a little too much", "four fifths", "slow but wide"],
)
@pytest.mark.parametrize("seed", range(5))
def test_a_rate_beyond_what_is_served_is_saturated_however_few_are_out(level, slots, ttft, saturated, seed):
    target = Plain(ttft=ttft, tokens=1, slots=slots)
    found = summary(target, Scenario("rate", level=level, requests=100, warmup=5, seed=seed))
    assert (found.stopped, found.saturated) == (None, saturated)


@pytest.mark.slow
def test_answers_of_uneven_length_are_not_taken_for_saturation():
    class Uneven(Plain):
        def __init__(self, seed):
            super().__init__(tokens=1)
            self.rng = random.Random(seed)

        async def wait(self, seconds):
            return await super().wait(self.rng.expovariate(0.1))  # ten seconds on average, as many as come

    loads = [summary(Uneven(seed), Scenario("rate", level=2.0, requests=20, seed=seed)) for seed in range(30)]
    assert sum(found.saturated for found in loads) <= 1


def test_saturation_is_unknown_for_other_loads_and_for_few_answers():
    assert summary(Plain(), Scenario("concurrency", requests=50)).saturated is None
    assert summary(Plain(slots=1), Scenario("rate", level=10.0, requests=19, warmup=0)).saturated is None


@pytest.mark.slow
def test_as_many_misses_as_the_bound_allows_are_not_hopeless():
    slo = Slo(ttft_s=1.0, attainment=0.9)
    for requests, misses in ((100, 10), (20, 2), (500, 50)):
        some = Plain(fail=lambda order: order % 10 == 0)
        done = run(drive(some, REQUESTS, Scenario("concurrency", requests=requests, warmup=0, slo=slo)))
        assert (done.stopped, load_summary(done).attainment) == (None, approx(0.9)), misses


def test_a_load_of_a_stated_time_is_not_hopeless_while_its_number_of_requests_is_unknown():
    slo = Slo(ttft_s=1.0, attainment=0.9)
    scenario = Scenario("concurrency", requests=10, seconds=70.0, warmup=0, slo=slo)
    done = run(drive(Plain(fail=lambda order: 3 <= order < 7), REQUESTS, scenario))
    assert done.stopped is None and load_summary(done).attainment == approx(0.96, abs=0.01)
    done = run(drive(Plain(ttft=1.5), REQUESTS, scenario))
    assert done.stopped.startswith("hopeless") and done.timed[-1].t_end > 70


def test_misses_after_the_measured_requests_do_not_count():
    slo = Slo(ttft_s=1.0, attainment=0.9)
    fail = Plain(ttft=0.9, tokens=1, fail=lambda order: order >= 25)
    assert run(drive(fail, REQUESTS, Scenario("rate", level=5.0, requests=20, slo=slo))).stopped is None


def test_a_bound_that_can_still_be_met_does_not_end_the_scenario():
    scenario = Scenario("concurrency", requests=100, warmup=0, slo=Slo(ttft_s=0.3, attainment=0.95))
    done = run(drive(Plain(fail=lambda order: order % 20 == 0), REQUESTS, scenario))
    assert done.stopped is None and done.issued == 100


def test_a_server_that_only_fails_ends_the_scenario():
    done = run(drive(Plain(fail=lambda order: True), REQUESTS, Scenario("rate", level=5.0, requests=1000)))
    assert done.stopped == f"failing: {FAILURES_IN_A_ROW} requests in a row, the last with http 500"


def test_a_scenario_never_outlasts_its_limit():
    done = run(drive(Plain(), REQUESTS, Scenario("concurrency", requests=1000, max_seconds=7.0)))
    assert done.stopped == "time: 7 s are over"
    assert done.issued == 11


def test_a_sink_takes_each_request_and_nothing_is_kept():
    scenario = Scenario("rate", level=5.0, requests=100, warmup=0)
    tally = Tally(scenario)
    done = run(drive(Plain(), REQUESTS, scenario, sink=tally.add))
    assert (done.timed, len(tally.errors)) == ((), done.issued)
    assert load_summary(done, tally) == summary(Plain(), scenario)


def test_the_numbers_kept_of_many_requests_take_little_memory():
    moments = {"t_sched": 0.0, "t_send": 0.001, "t_first": 0.2, "t_first_answer": 0.3, "t_last": 1.2, "t_end": 1.3}
    timed = Timed(index=0, key="k", sample_id="s", **moments, gaps_s=(0.1,) * 10, usage=Usage(7, 11, 3), counted=11)
    tally = Tally(Scenario("rate", level=5.0))
    for _ in range(1000):
        tally.add(timed)
    kept = (*tally.columns.values(), tally.gaps, tally.gap_counts)
    assert sum(len(numbers) * numbers.itemsize for numbers in kept) <= 1000 * (150 + 8 * 10)


def test_a_scenario_in_which_nothing_came_back_knows_nothing_and_says_no_zero():
    found = summary(Plain(fail=lambda order: True), Scenario("concurrency", requests=3, warmup=0))
    assert found.ttft_s.p50 is None and found.ttft_s.mean is None
    assert found.requests_per_s is None and found.system_output_tokens_per_s is None


def test_our_own_bugs_keep_their_traceback():
    def broken(text: str) -> int:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        one(Plain(), count=broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(drive(Plain(), REQUESTS, Scenario("rate", level=0.1, requests=50), count=broken))


@pytest.mark.slow
def test_the_garbage_collector_does_not_walk_over_what_was_there_before():
    held = []

    def ask(request: Request) -> Response:
        held.append(gc.get_freeze_count())
        return Response(key="k", prompt="p", text="x", output_tokens=1)

    run_load(InProcess(ask), REQUESTS, Scenario("concurrency", requests=1, warmup=0))
    assert held[0] > 10_000 and gc.get_freeze_count() == 0


# --- a model in this process ----------------------------------------------------------------------------------------


def test_a_model_in_this_process_keeps_its_own_times():
    def ask(request: Request) -> Response:
        times = {"ttft_s": 0.25, "last_token_s": 1.25, "e2e_s": 1.5}
        return Response(key="k", prompt="p", text="hello there", input_tokens=5, output_tokens=11, **times)

    done = asyncio.run(drive(InProcess(ask), REQUESTS, Scenario("concurrency", requests=3, warmup=0)))
    for timed in done.timed:
        assert timed.t_last - timed.t_first == approx(1.0)
        assert timed.tpot_s == approx(0.1)
        assert timed.ttft_s >= 0.25
    found = load_summary(done)
    assert (found.input_tokens, found.output_tokens, found.gap_s.n) == (15, 33, 0)


def test_an_error_of_a_model_in_this_process_is_a_failed_request():
    def ask(request: Request) -> Response:
        return Response(key="k", prompt=None, error="out of memory")

    done = asyncio.run(drive(InProcess(ask), REQUESTS, Scenario("concurrency", requests=2, warmup=0)))
    assert [t.error for t in done.timed] == ["backend error", "backend error"]
