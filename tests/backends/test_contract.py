"""What every backend promises, tested on the fake and on small models of several architectures."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from harness.backends import load
from harness.config.model import model_of
from harness.values import GenerateRequest, LoglikelihoodRequest, Prompt, Sampling

CHOICES = (" red", " blue", " the cat", " red")
PROMPTS = [
    "the cat sat on the",
    "a",
    "the dog ran home and the cat sat on a red mat .",
    "yes or no ? ",
    "red",
    "blue :",
]


def score_requests(prompts=PROMPTS, choices=CHOICES):
    return [LoglikelihoodRequest(f"s{i}", str(i), Prompt(prompt), choices) for i, prompt in enumerate(prompts)]


def generate_requests(prompts=PROMPTS, **changes):
    asked = {"max_tokens": 6, **changes}
    return [GenerateRequest(f"g{i}", str(i), Prompt(prompt), **asked) for i, prompt in enumerate(prompts)]


SHARED = Path(__file__).resolve().parents[3] / "shared"
STORIES = pytest.param("stories260K", marks=pytest.mark.shared)  # real weights, and a tokenizer that drops spaces
MORE = [pytest.param(name, marks=pytest.mark.slow) for name in ("mamba", "openai-gpt", "bloom")]
REAL = ["llama", "llama-plain", "gpt2", "rwkv", *MORE, STORIES]


def build(kind, models, **changes):
    if kind == "fake":
        return load(model_of(name="m", backend="fake"))
    architecture, _, engine = kind.partition("-plain")
    path = SHARED / "models" / kind if kind == "stories260K" else models(architecture)
    engine = "plain" if kind.endswith("-plain") else "auto"
    asked = {"name": "m", "path": str(path), "device": "cpu", "dtype": "fp32", "threads": 1, "engine": engine}
    return load(model_of(**{**asked, **changes}))


@pytest.fixture(scope="module", params=["fake", *REAL])
def backend(request, models):
    made = build(request.param, models)
    yield made
    made.close()


def answers(responses):
    return {r.key: (r.text, r.output_tokens, r.finish_reason, r.input_tokens) for r in responses}


@pytest.mark.slow
def test_every_request_is_answered_once(backend):
    for requests in (score_requests(), generate_requests(), [*score_requests(), *generate_requests()]):
        responses = list(backend.answer(requests))
        assert sorted(r.key for r in responses) == sorted(r.key for r in requests)
        assert all(r.error is None for r in responses)


def test_nothing_asked_is_nothing_answered(backend):
    assert list(backend.answer([])) == []


def test_order_does_not_change_answers(backend):
    forwards, backwards = list(backend.answer(generate_requests())), list(backend.answer(generate_requests()[::-1]))
    assert answers(forwards) == answers(backwards)


def test_a_request_alone_gets_the_answer_it_gets_in_a_batch(backend):
    together = {r.key: r for r in backend.answer(score_requests())}
    for request in score_requests():
        (alone,) = backend.answer([request])
        assert alone.logprobs == pytest.approx(together[request.key].logprobs, rel=1e-5, abs=1e-5)
        assert alone.greedy == together[request.key].greedy
    texts = answers(backend.answer(generate_requests()))
    for request in generate_requests():
        assert answers(backend.answer([request]))[request.key] == texts[request.key]


def test_log_probabilities_are_of_something_possible(backend):
    for response in backend.answer(score_requests()):
        assert all(value <= 0 and math.isfinite(value) for value in response.logprobs)
        assert response.logprobs[0] == response.logprobs[3]  # the same continuation twice
        assert len(set(response.logprobs)) > 1


def test_a_request_alone_has_elapsed_times_in_order(backend):
    (response,) = backend.answer(generate_requests()[:1])
    assert 0 < response.ttft_s <= response.last_token_s <= response.e2e_s
    assert response.batch_size == 1
    assert response.prefill_s > 0
    (scored,) = backend.answer(score_requests()[:1])
    assert scored.e2e_s > 0


def test_generation_stops_at_its_limit_and_says_so(backend):
    for response in backend.answer(generate_requests(max_tokens=1)):
        assert response.output_tokens == 1
        assert response.finish_reason in ("length", "stop")


@pytest.mark.slow
def test_the_text_ends_before_the_first_stop_string(backend):
    free = {r.key: r.text for r in backend.answer(generate_requests(max_tokens=12))}
    key = max(free, key=lambda k: len(free[k]))
    stop = free[key][len(free[key]) // 2 :][:2]
    responses = {r.key: r for r in backend.answer(generate_requests(max_tokens=12, stop=("never seen", stop)))}
    assert responses[key].text == free[key][: free[key].index(stop)]
    assert (responses[key].finish_reason, responses[key].stop_string) == ("stop", stop)
    assert all(stop not in r.text for r in responses.values())


def test_describe_is_json_with_the_same_keys_for_every_backend(backend):
    import json

    about = json.loads(json.dumps(dataclasses.asdict(backend.describe())))
    wanted = {"model", "backend", "dtype", "device", "parameters", "context_length", "chat_template_sha256", "where"}
    assert wanted <= set(about)
    assert about["where"] == "this machine"


@pytest.mark.slow
def test_closing_twice_is_allowed(models):
    for kind in ("fake", "llama"):
        made = build(kind, models)
        made.close()
        made.close()


# --- what only real models can show ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=REAL)
def real(request, models):
    made = build(request.param, models)
    yield made
    made.close()


@pytest.mark.slow
def test_any_batch_budget_gives_the_same_numbers(real):
    usual = {r.key: r for r in real.answer(score_requests())}
    texts = answers(real.answer(generate_requests()))
    config = real.config
    for budget in (1, 17, 1000):
        small = type(real).__new__(type(real))
        small.__dict__.update(
            real.__dict__, config=config.model_copy(update={"batch_tokens": budget}), _methods=type(real._methods)()
        )
        for response in small.answer(score_requests()):
            assert response.logprobs == pytest.approx(usual[response.key].logprobs, rel=1e-5, abs=1e-5)
        assert answers(small.answer(generate_requests())) == texts


@pytest.mark.slow
def test_scores_are_those_of_the_models_own_forward(real):
    """The oracle reads each text alone, whole, without batch, padding, cache or our tokenisation."""
    import torch

    tokenizer, model = real.loaded.tokenizer, real.loaded.model
    for response, request in zip(sorted(real.answer(score_requests()), key=lambda r: r.key), score_requests()):
        context = request.prompt.text.rstrip()
        for text, logprob in zip(request.continuations, response.logprobs):
            whole = tokenizer.encode(context + request.prompt.text[len(context) :] + text)
            n_context = len(tokenizer.encode(context))
            with torch.no_grad():
                logprobs = model(torch.tensor([whole])).logits[0].log_softmax(-1)
            expected = sum(float(logprobs[i - 1, whole[i]]) for i in range(n_context, len(whole)))
            assert logprob == pytest.approx(expected, abs=1e-4)


def test_token_counts_are_those_of_a_recount_without_padding(real):
    tokenizer = real.loaded.tokenizer
    for response in real.answer(generate_requests()):
        ids = tokenizer.encode(response.prompt)
        assert response.input_tokens == len(ids)
        bos = tokenizer.bos_token_id
        assert ids.count(bos) == 1 == ids[:1].count(bos)  # one <s>, at the front
    longest = max(len(tokenizer.encode(PROMPTS[0] + choice)) for choice in CHOICES)
    assert next(real.answer(score_requests()[:1])).input_tokens == longest


def test_a_text_that_opens_with_bos_gets_no_second_one(real):
    plain, marked = real.answer(score_requests(["the cat", "<s>the cat"]))
    assert plain.logprobs == pytest.approx(marked.logprobs, abs=1e-5)
    assert plain.input_tokens == marked.input_tokens


def test_shares_of_a_batch_add_up_to_no_more_than_the_clock(real):
    import time

    real.answer([]), real._generator()
    start = time.perf_counter()
    responses = list(real.answer(generate_requests()))
    elapsed = time.perf_counter() - start
    total = sum(r.prefill_s + r.decode_s for r in responses)
    assert 0 < total <= elapsed


@pytest.mark.slow
def test_sampling_follows_its_seed_and_not_its_neighbours(real):
    hot = Sampling(temperature=1.0, top_p=0.95, seed=3)
    together = answers(real.answer(generate_requests(sampling=hot)))
    (alone,) = real.answer(generate_requests(sampling=hot)[2:3])
    assert alone.text == together["g2"][0]
    again = [dataclasses.replace(r, epoch=epoch) for r in generate_requests(sampling=hot)[2:3] for epoch in range(8)]
    assert len({r.text for r in real.answer([dataclasses.replace(r, key=str(i)) for i, r in enumerate(again)])}) > 1


@pytest.mark.slow
def test_greedy_text_is_the_models_most_likely_token_each_time(real):
    """The oracle reads the whole text again for every token. The folder's own sampling settings are not followed."""
    import torch

    tokenizer, model, ends = real.loaded.tokenizer, real.loaded.model, set(real.loaded.eos_tokens)
    responses = {r.key: r for r in real.answer(generate_requests(max_tokens=8))}
    for request in generate_requests(max_tokens=8):
        ids = tokenizer.encode(request.prompt.text)
        written = []
        while len(written) < 8 and not ends & set(written):
            with torch.no_grad():
                written.append(int(model(torch.tensor([ids + written])).logits[0, -1].argmax()))
        response = responses[request.key]
        assert response.output_tokens == len(written)
        assert response.text == tokenizer.decode(
            [token for token in written if token not in ends], skip_special_tokens=True
        )
        assert response.finish_reason == ("stop" if ends & set(written) else "length")


@pytest.mark.slow
def test_an_empty_prompt_becomes_the_opening_token(real):
    (response,) = real.answer(score_requests([""]))
    assert response.error is None
    (response,) = real.answer(generate_requests([""]))
    assert response.error is None
    assert response.input_tokens == 1
