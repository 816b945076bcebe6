"""Scoring through the prefix tree gives the plain method's numbers, whatever the budget and whatever goes wrong."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.engine import memory, plain_method
from harness.engine.score import choose, prefix_tree, prefix_walk
from harness.engine.score.prefix_readers import PackedReader, PaddedReader
from harness.engine.tokens import ScoreSequence
from tests.support.architectures import VOCABULARY, load


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def llama():
    return load("llama")


def questions(subjects: int = 2, n: int = 8, seed: int = 0) -> list[ScoreSequence]:
    """Header, question, choices of one and of several tokens; then texts that share nothing."""
    draw = random.Random(seed)

    def text(length: int) -> tuple[int, ...]:
        return tuple(draw.choices(range(3, VOCABULARY), k=length))

    sequences = []
    for _ in range(subjects):
        header = text(40)
        for _ in range(n):
            question = header + text(draw.randint(8, 30))
            sequences += [ScoreSequence((*question, letter), 1) for letter in (10, 11, 12)]
            sequences += [ScoreSequence(question + choice, len(choice)) for choice in (text(3), text(5))]
        sequences.append(ScoreSequence(header, 25))  # ends inside the prefix of the others
    return sequences + [ScoreSequence(text(length), 2) for length in (3, 20, 70)]


def run(loaded, sequences, **options):
    """Returns the scores in order, and the statistics."""
    stats = []
    scored = dict(prefix_walk.score(loaded, sequences, on_stats=stats.append, **options))
    assert sorted(scored) == list(range(len(sequences)))
    return [scored[index] for index in range(len(sequences))], stats[0]


def reference(loaded, sequences):
    scored = dict(plain_method.score(loaded, sequences))
    return [scored[index] for index in range(len(sequences))]


def assert_same(scored, expected, within=1e-5):
    for one, other in zip(scored, expected, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=within)
        assert one.greedy == other.greedy


@pytest.mark.slow
@pytest.mark.parametrize("reader", [PackedReader, PaddedReader])
@pytest.mark.parametrize("budget", [None, 300, 64, 5])
def test_scores_do_not_depend_on_the_budget_nor_on_how_rows_are_read(llama, budget, reader):
    sequences = questions()
    scored, stats = run(llama, sequences, batch_tokens=budget, reader=reader)
    assert_same(scored, reference(llama, sequences))
    assert stats.forwarded_tokens <= 1.03 * stats.distinct_tokens
    if reader is PackedReader:
        assert stats.padding_tokens == 0


def test_a_packed_row_does_not_see_the_rows_beside_it(llama):
    first, second = ScoreSequence((1, 2, 3, 4), 2), ScoreSequence((1, 7, 8, 9, 10), 3)
    together, _ = run(llama, [first, second], reader=PackedReader)
    apart = [run(llama, [one], reader=PackedReader)[0][0] for one in (first, second)]
    assert_same(together, apart, within=1e-6)


def test_a_packed_batch_fills_its_budget_token_by_token_and_bounds_its_padding(llama):
    reader = PackedReader(llama, prefix_walk.decoder(llama.model))
    assert reader.fit([40, 30, 20, 10], 500, 100) == 4
    assert reader.fit([40, 30, 20, 10], 500, 95) == 3
    assert reader.fit([90] + [1] * 10, 500, 100) == 2
    assert reader.fit([400], 500, 100) == 1


def test_a_window_that_attention_is_not_told_of_is_found_out(llama):
    reader = PackedReader(llama, prefix_walk.decoder(llama.model))
    reader.windows = {4096}
    with torch.inference_mode(), pytest.raises(NotImplementedError, match="told of windows"):
        reader.read([prefix_tree.row(prefix_tree.build([ScoreSequence((1, 2, 3), 1)]), [0], 0)], 0, keeps=False)


def test_two_runs_are_equal_to_the_last_bit(llama):
    first, second = (run(llama, questions(), batch_tokens=200)[0] for _ in range(2))
    assert [one.logprob for one in first] == [one.logprob for one in second]


def test_every_shared_token_is_forwarded_once_and_a_server_would_bill_all(llama):
    sequences = questions(n=20)
    _, stats = run(llama, sequences, batch_tokens=400)
    assert stats.prompt_tokens == sum(len(one.ids) for one in sequences)
    assert stats.distinct_tokens == len({one.ids[:end] for one in sequences for end in range(1, len(one.ids))})
    assert stats.distinct_tokens <= stats.forwarded_tokens <= 1.03 * stats.distinct_tokens
    assert stats.forwarded_tokens < stats.prompt_tokens / 5


def test_seconds_of_the_sequences_add_up_to_the_batches(llama):
    scored, stats = run(llama, questions(), batch_tokens=150)
    assert sum(one.prefill_s for one in scored) == pytest.approx(stats.forward_s + stats.projection_s)


def test_one_cache_is_alive_and_no_longer_than_the_longest_prefix(llama):
    _, stats = run(llama, questions(), batch_tokens=64)
    assert 0 < stats.longest_cache_tokens <= 70


def test_identical_choices_and_a_choice_that_starts_another_score_as_alone(llama):
    context = tuple(range(20, 60))
    choices = [(5,), (5, 6), (5, 6, 7), (5, 6), (9,), (5,)]
    sequences = [ScoreSequence(context + choice, len(choice)) for choice in choices]
    scored, _ = run(llama, sequences)
    assert_same(scored, [reference(llama, [one])[0] for one in sequences])
    assert scored[1] == replace(scored[3], prefill_s=scored[1].prefill_s)


def test_a_token_is_greedy_only_if_every_token_of_it_is(llama):
    context = tuple(range(20, 60))
    chosen = []
    for _ in range(3):
        with torch.inference_mode():
            chosen.append(int(llama.model(torch.tensor([[*context, *chosen]])).logits[0, -1].argmax()))
    other = (chosen[0], (chosen[1] + 1) % VOCABULARY, chosen[2])
    scored, _ = run(llama, [ScoreSequence((*context, *tail), 3) for tail in (chosen, other)])
    assert [one.greedy for one in scored] == [True, False]


def test_a_sequence_longer_than_the_budget_is_read_in_parts(llama):
    sequences = [ScoreSequence(tuple(5 + (7 * place) % 150 for place in range(200)), 150)]
    scored, stats = run(llama, sequences, batch_tokens=32)
    assert_same(scored, reference(llama, sequences), within=1e-4)
    assert stats.batches == 7


def test_nothing_to_score_is_no_work(llama):
    scored, stats = run(llama, [])
    assert (scored, stats.forwarded_tokens) == ([], 0)


def fails_above(loaded, tokens):
    """A decoder whose device holds no more than `tokens` tokens at a time."""

    def check(module, arguments, named):
        if named["input_ids"].numel() > tokens:
            raise RuntimeError("CUDA out of memory (injected)")

    return prefix_walk.decoder(loaded.model).register_forward_pre_hook(check, with_kwargs=True)


def test_a_batch_that_runs_out_of_memory_is_owed_again_at_half_the_budget(llama, caplog):
    sequences = questions()
    hook = fails_above(llama, 60)
    try:
        scored, stats = run(llama, sequences, batch_tokens=1000)
    finally:
        hook.remove()
    assert_same(scored, reference(llama, sequences))
    assert stats.out_of_memory_retries > 0


def test_a_batch_of_many_rows_is_halved_and_the_log_says_so(llama, caplog):
    draw = random.Random(3)
    sequences = [ScoreSequence((first, *draw.choices(range(3, VOCABULARY), k=100)), 1) for first in range(3, 15)]
    hook = fails_above(llama, 300)
    try:
        with caplog.at_level(logging.WARNING, logger="harness.engine.score.prefix_walk"):
            scored, _stats = run(llama, sequences, batch_tokens=1000)
    finally:
        hook.remove()
    assert_same(scored, reference(llama, sequences))
    assert caplog.messages[0].startswith("out of memory on 10 rows: trying again with 500 tokens")


def test_a_sequence_that_does_not_fit_in_one_batch_is_read_in_parts(llama):
    sequences = [ScoreSequence(tuple(range(5, 75)), 40)]
    hook = fails_above(llama, 12)
    try:
        scored, stats = run(llama, sequences)
    finally:
        hook.remove()
    assert_same(scored, reference(llama, sequences))
    assert stats.out_of_memory_retries == 4


@pytest.mark.parametrize("budget", [None, 8])
def test_a_sequence_that_does_not_fit_at_all_is_an_error_and_the_others_are_scored(llama, budget):
    def check(module, arguments, named):
        if named["position_ids"] is not None and named["position_ids"].max() >= 15:
            raise RuntimeError("CUDA out of memory (injected)")

    long = ScoreSequence(tuple(range(5, 25)), 1)
    sequences = [long, ScoreSequence((*range(5, 20), 7), 2), ScoreSequence((50, 60, 70), 1), replace(long, n_scored=12)]
    hook = prefix_walk.decoder(llama.model).register_forward_pre_hook(check, with_kwargs=True)
    try:
        scored, _ = run(llama, sequences, batch_tokens=budget)
    finally:
        hook.remove()
    for one in (scored[0], scored[3]):
        assert math.isnan(one.logprob)
        assert one.error == "out of memory on a sequence of 20 tokens"
    assert_same(scored[1:3], reference(llama, sequences[1:3]))


def test_another_error_of_the_model_is_not_taken_for_lack_of_memory(llama):
    hook = prefix_walk.decoder(llama.model).register_forward_pre_hook(
        lambda *_: (_ for _ in ()).throw(RuntimeError("shape"))
    )
    try:
        with pytest.raises(RuntimeError, match="shape"):
            run(llama, questions())
    finally:
        hook.remove()


def test_logits_that_are_no_numbers_give_nan_for_the_sequences_concerned_only():
    loaded = load("llama")
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[77] = float("nan")
    scored, _ = run(loaded, [ScoreSequence((5, 6, 77, 8), 1), ScoreSequence((5, 6, 7, 8), 1)])
    assert math.isnan(scored[0].logprob)
    assert math.isfinite(scored[1].logprob)


def test_the_vocabulary_is_projected_only_where_a_prediction_is_judged(llama, monkeypatch):
    monkeypatch.setattr(prefix_walk, "LOGITS_BYTES", 4 * VOCABULARY * 6)  # six rows at a time
    rows = []
    head = llama.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda module, arguments: rows.append(arguments[0].shape[:-1].numel()))
    sequences = questions()
    try:
        scored, stats = run(llama, sequences)
    finally:
        hook.remove()
    judged = {one.ids[:end] for one in sequences for end in range(len(one.ids) - one.n_scored, len(one.ids))}
    assert sum(rows) == stats.judged_rows == len(judged)
    assert max(rows) <= 6
    assert_same(scored, reference(llama, sequences))


def test_the_decoder_is_itself_again_after_a_projection(llama):
    part = prefix_walk.decoder(llama.model)
    before = part.forward
    run(llama, questions(subjects=1))
    assert part.forward == before
    assert "forward" not in part.__dict__


def test_engine_plain_asks_for_the_reference_method(llama):
    assert choose.scorer_for(llama, "plain") is choose.plain_score
    assert choose.scorer_for(llama).keywords == {"reader": PackedReader}


def test_the_plain_method_tells_what_it_took_as_far_as_it_is_known(llama):
    sequences, stats = questions(), []
    scored = dict(choose.plain_score(llama, sequences, on_stats=stats.append))
    assert stats[0].prompt_tokens == sum(len(one.ids) for one in sequences)
    assert stats[0].forwarded_tokens == sum(map(len, {one.ids[:-1] for one in sequences}))
    assert stats[0].forward_s == pytest.approx(sum(one.prefill_s for one in scored.values()))
    assert stats[0].distinct_tokens is None


def test_decisions_within_rounding_of_a_tie_are_counted():
    single = [(-3.0, -3.1, -9.0), (-3.0, -3.2), (-4.0, -4.0), (-1.0,), (float("nan"), -2.0)]
    decisions = [[(value, 1) for value in choices] for choices in single]
    assert choose.near_ties(decisions, torch.bfloat16) == 2
    assert choose.near_ties(decisions, torch.float16) == 1
    assert choose.near_ties([], torch.bfloat16) == 0


def test_a_tie_is_the_wider_the_more_tokens_are_summed():
    def near(margin: float, tokens: int, dtype: torch.dtype = torch.bfloat16) -> int:
        return choose.near_ties([[(-40.0, tokens), (-40.0 - margin, tokens)]], dtype)

    assert (near(0.2, 1), near(0.2, 20), near(0.6, 20), near(0.8, 20)) == (0, 1, 1, 0)
    assert near(0.2, 20, torch.float16) == 0  # an eighth of the spacing
    # a longer choice may be nearer to the best than the second best is
    assert choose.near_ties([[(-3.0, 1), (-3.2, 1), (-3.4, 60)]], torch.bfloat16) == 1


def test_the_bound_is_three_times_the_error_of_sums_of_rounded_numbers():
    rng = np.random.default_rng(0)
    exact = rng.uniform(-30, -16, size=(4000, 2, 25))
    rounded = torch.tensor(exact).to(torch.bfloat16).double().numpy()
    error = (rounded - exact).sum(axis=2)
    moved = np.abs(error[:, 0] - error[:, 1])
    bound = 3 * 0.125 * (50 / 12) ** 0.5
    assert (moved <= bound).mean() > 0.99 and (moved <= bound / 3).mean() < 0.75


@pytest.mark.shared
@pytest.mark.parametrize("name", ["TinyStories-656K", "stories260K"])
def test_trained_models_score_as_the_plain_method_does(shared, name):
    from transformers import AutoModelForCausalLM

    from harness.engine.loaded import LoadedModel

    model = AutoModelForCausalLM.from_pretrained(shared / "models" / name, dtype=torch.float32).eval()
    loaded = LoadedModel(model, None, torch.device("cpu"), model.config.max_position_embeddings, 1, (2,), None)
    sequences = questions()
    assert choose.obstacle(loaded) is None
    assert_same(run(loaded, sequences, batch_tokens=200)[0], reference(loaded, sequences), within=1e-4)


def test_half_precision_deviates_from_the_plain_method_by_rounding_only():
    loaded = load("llama")
    loaded.model.to(torch.bfloat16)
    sequences = questions()
    scored, _ = run(loaded, sequences)
    gaps = [abs(a.logprob - b.logprob) / s.n_scored for a, b, s in zip(scored, reference(loaded, sequences), sequences)]
    assert sum(gaps) / len(gaps) < 0.02


def test_the_budget_is_what_keeps_a_device_busy_and_less_if_memory_is_short(llama, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**12)
    assert memory.token_budget(llama) == memory.FULL_SPEED_TOKENS["cpu"]
    monkeypatch.setattr(memory, "free_bytes", lambda device: 600 * memory.bytes_per_token(llama.model))
    assert memory.token_budget(llama) == 300
    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    assert memory.token_budget(llama) == memory.FEWEST_TOKENS
    assert memory.token_budget(llama, deterministic=True) == memory.FULL_SPEED_TOKENS["cpu"]
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)
    assert memory.token_budget(llama) == memory.FULL_SPEED_TOKENS["cpu"]
