"""What the transformers backend makes of the engine: its statistics, its copies, its fixed batches."""

from __future__ import annotations

import logging
import re

import pytest

from harness.backends.local.backend import TransformersBackend
from harness.config.model import model_of
from harness.engine import memory
from harness.errors import BackendError
from harness.values import LoglikelihoodRequest, Prompt

pytestmark = pytest.mark.slow

HEAD = "the cat sat on the red mat and " * 2


def build(path, **changes):
    return TransformersBackend(model_of(**{"name": "m", "path": str(path), "device": "cpu", "threads": 1, **changes}))


def requests():
    return [
        LoglikelihoodRequest(str(i), str(i), Prompt(HEAD + text), (" the cat", " red"))
        for i, text in enumerate(("the dog", "a red cat", "the", "mat"))
    ]


def scores(backend):
    return {response.key: response.logprobs for response in backend.answer(requests())}


@pytest.fixture(scope="module")
def llama(models):
    made = build(models("llama"))
    yield made
    made.close()


def test_a_scoring_tells_the_tokens_billed_and_the_tokens_computed(llama):
    responses = list(llama.answer(requests()))
    took = llama.computed()
    assert took.sequences == 8
    assert took.forwarded_tokens < took.prompt_tokens / 2
    assert took.distinct_tokens <= took.forwarded_tokens <= 1.03 * took.distinct_tokens
    assert took.encode_s > 0
    assert sum(r.prefill_s for r in responses) == pytest.approx(took.forward_s + took.projection_s)


@pytest.mark.slow
def test_half_precision_says_how_many_decisions_are_near_a_tie(models, caplog):
    backend = build(models("llama"), dtype="bf16")
    with caplog.at_level(logging.INFO, logger="harness.backends.local.backend"):
        scores(backend)
    backend.close()
    assert re.match(r".+: \d of 4 decisions lie within half precision's rounding of a tie: ", caplog.messages[-1])


@pytest.mark.slow
def test_nothing_was_scored_and_nothing_is_told(models):
    backend = build(models("llama"))
    assert backend.computed() is None
    backend.close()


@pytest.mark.slow
def test_replicas_give_the_numbers_of_one_model(models, llama):
    backend = build(models("llama"), replicas=2)
    try:
        shared = scores(backend)
    finally:
        backend.close()
    for key, logprobs in scores(llama).items():
        assert shared[key] == pytest.approx(logprobs, abs=1e-5)


def test_more_replicas_than_accelerators_are_refused(models, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(BackendError, match="3 replicas on device 'cuda': there are 2 devices to share between"):
        build(models("llama"), device="cuda", replicas=3)


def test_deterministic_batches_do_not_depend_on_free_memory(models, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    backend = build(models("llama"), deterministic=True)
    assert backend._budget() == memory.FULL_SPEED_TOKENS["cpu"]
    backend.config = backend.config.model_copy(update={"deterministic": False})
    assert backend._budget() is None
    backend.close()


def test_a_token_beyond_the_head_is_an_error_that_names_the_sample(llama):
    import torch

    head = llama.loaded.model.get_output_embeddings()
    whole = head.weight
    ids = llama.loaded.tokenizer(" red")["input_ids"]
    try:
        head.weight = torch.nn.Parameter(whole[: ids[-1]].detach(), requires_grad=False)
        (response,) = llama.answer([LoglikelihoodRequest("k", "7", Prompt("the cat"), (" red",))])
    finally:
        head.weight = whole
    assert response.error == f"sample '7': the tokenizer gives token {ids[-1]}, the model predicts {ids[-1]}"
