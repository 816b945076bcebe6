"""Every architecture scores through the engine as one sequence at a time through the model itself."""

from __future__ import annotations

import logging
import random

import pytest
import torch

from harness.engine.score import choose, prefix_walk
from harness.engine.tokens import ScoreSequence
from tests.support.architectures import CONTEXT, VOCABULARY, WINDOW, each, load

SHARES = each(lambda architecture: architecture.shares)
ALONE = each(lambda architecture: not architecture.shares)
DECODERS = each(lambda architecture: architecture.kind == "AutoModelForCausalLM")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sequences() -> list[ScoreSequence]:
    """Longer than every window here, shared at two depths, choices of one and of several tokens; one fills it all."""
    draw = random.Random(0)

    def text(length: int) -> tuple[int, ...]:
        return tuple(draw.choices(range(3, VOCABULARY), k=length))

    header = text(2 * WINDOW + 5)
    items = []
    for _ in range(6):
        question = header + text(draw.randint(WINDOW // 2, 2 * WINDOW))
        items += [ScoreSequence((*question, letter), 1) for letter in (10, 11)]
        items += [ScoreSequence(question + text(length), length) for length in (3, 6)]
    return [*items, ScoreSequence(header, WINDOW + 3), ScoreSequence(text(CONTEXT + 1), 4), ScoreSequence(text(2), 1)]


@torch.inference_mode()
def alone(loaded, sequence: ScoreSequence) -> float:
    ids = torch.tensor([sequence.ids])
    logprobs = loaded.model(ids[:, :-1]).logits[0, -sequence.n_scored :].log_softmax(dim=-1)
    return float(logprobs.gather(1, ids[0, -sequence.n_scored :, None]).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", DECODERS)
def test_the_engine_gives_the_numbers_of_one_sequence_at_a_time(name):
    loaded = load(name)
    run = choose.scorer_for(loaded)
    expected = [alone(loaded, sequence) for sequence in sequences()]
    for budget in (1000, 90, 11):
        scored = dict(run(loaded, sequences(), batch_tokens=budget))
        assert [scored[index].logprob for index in range(len(expected))] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES)
def test_models_with_keys_and_values_of_every_position_share_them(name):
    assert choose.obstacle(load(name)) is None


@pytest.mark.parametrize("name", ALONE)
def test_models_that_cannot_share_are_found_out_and_the_log_says_why(name, caplog):
    loaded = load(name)
    with caplog.at_level(logging.INFO, logger="harness.engine.score.choose"):
        scorer = choose.scorer_for(loaded)
    assert scorer.func is choose.plain_score
    assert len(caplog.messages) == 1
    why = caplog.messages[0].removeprefix("scoring with the plain method: ")
    assert why != caplog.messages[0] and scorer.keywords == {"instead": why}
    if not loaded.model.config.is_encoder_decoder:
        assert {scored.fallback for _, scored in scorer(loaded, sequences()[:3])} == {why}


def test_a_model_that_takes_positions_but_counts_in_its_own_way_is_found_out_by_the_trial(monkeypatch):
    loaded = load("llama")
    part = prefix_walk.decoder(loaded.model)
    hook = part.register_forward_pre_hook(
        lambda module, arguments, named: (arguments, named | {"position_ids": None}), with_kwargs=True
    )
    try:
        assert "moved log-probabilities by" in choose.obstacle(loaded)
    finally:
        hook.remove()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_trial_tells_rounding_of_half_precision_from_a_wrong_method(dtype):
    loaded = load("llama")
    loaded.model.to(dtype)
    assert choose.obstacle(loaded) is None
    hook = prefix_walk.decoder(loaded.model).register_forward_pre_hook(
        lambda module, arguments, named: (arguments, named | {"position_ids": None}), with_kwargs=True
    )
    try:
        assert choose.obstacle(loaded) is not None
    finally:
        hook.remove()


@pytest.mark.parametrize("name", ["gemma2", "granite"])
def test_what_a_class_does_after_its_head_is_done(name):
    loaded = load(name)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        whole = loaded.model(ids).logits[0]
        part = prefix_walk.decoder(loaded.model)
        output = part(input_ids=ids)
        rows = output.last_hidden_state[0, [1, 3]]
        assert torch.allclose(prefix_walk.project(loaded.model, part, output, rows), whole[[1, 3]], atol=1e-6)
        assert not torch.allclose(loaded.model.get_output_embeddings()(rows), whole[[1, 3]], atol=1e-2)
