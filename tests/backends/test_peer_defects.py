"""What another harness got wrong about local models, each shown to be right here (Inspect AI 0.3.285, `hf/`).

Its input tokens were the padded width of the batch, its output tokens the longest answer's, its time the batch's; its
stop reason was always unknown; prompts had two BOS; sampling was on by default and temperature 0 an error; and answers
to one model could come from another that ran at the same time.
"""

from __future__ import annotations

import shutil
import time

import pytest

from harness.backends.local.backend import TransformersBackend
from harness.config.model import model_of
from harness.values import GenerateRequest, Message, Request, Sampling
from tests.support.asking import prompt_of

SHORT, LONG = "cat", "the cat sat on the red mat and ran home . " * 4


def build(path, **changes) -> TransformersBackend:
    asked = {"name": "m", "path": str(path), "device": "cpu", "dtype": "fp32", "threads": 1}
    return TransformersBackend(model_of(**(asked | changes)))


@pytest.fixture(scope="module", params=["auto", "plain"])
def llama(request, models):
    made = build(models("llama", chat=True, context=256), engine=request.param)
    yield made
    made.close()


def ask(prompt, key: str, max_tokens: int = 6, **changes) -> Request:
    return GenerateRequest(key, key, prompt_of(prompt), max_tokens=max_tokens, **changes)


def answers(backend, *requests: Request) -> dict:
    return {response.key: response for response in backend.answer(requests)}


@pytest.mark.slow
def test_a_short_prompt_beside_a_long_one_is_charged_its_own_tokens(llama):
    found = answers(llama, ask(SHORT, "short"), ask(LONG, "long"))
    for key, text in (("short", SHORT), ("long", LONG)):
        assert found[key].input_tokens == len(llama.loaded.tokenizer.encode(text))
    assert found["long"].input_tokens > 10 * found["short"].input_tokens


@pytest.mark.slow
def test_a_short_answer_beside_a_long_one_is_charged_its_own_tokens(llama):
    found = answers(llama, *(ask(SHORT, str(n), n) for n in (1, 5, 20)))
    assert all(found[str(n)].output_tokens == n or found[str(n)].finish_reason == "stop" for n in (1, 5, 20))
    assert found["1"].output_tokens == 1


@pytest.mark.slow
def test_the_time_of_a_batch_is_shared_and_never_shown_as_the_time_of_a_row(llama):
    before = time.perf_counter()
    found = answers(llama, *(ask(f"{SHORT} {n}", str(n), 4 * n) for n in range(1, 5))).values()
    elapsed = time.perf_counter() - before
    assert 0 < sum(r.prefill_s + r.decode_s for r in found) <= elapsed
    for response in found:
        if response.batch_size > 1:
            assert response.ttft_s is response.last_token_s is response.e2e_s is None


def test_a_request_alone_does_not_wait_for_a_batch_to_fill(llama):
    answers(llama, ask(SHORT, "warm"))
    response = answers(llama, ask(SHORT, "alone"))["alone"]
    assert 0 < response.ttft_s <= response.last_token_s <= response.e2e_s
    waited = response.e2e_s - response.prefill_s - response.decode_s
    assert waited < 1.0  # the defect: two seconds for a batch to fill, one for the next look


def test_why_an_answer_ended_is_always_known(llama):
    (token,) = answers(llama, ask(SHORT, "free", 12)).values()
    stop = token.text[2:4]
    found = answers(llama, ask(SHORT, "cut", 2), ask(SHORT, "stop", 12, stop=(stop,)))
    assert (found["cut"].finish_reason, found["cut"].stop_string) == ("length", None)
    assert (found["stop"].finish_reason, found["stop"].stop_string) == ("stop", stop)


@pytest.mark.parametrize("prompt", [(Message("user", "hi"),), "<s>hi", "hi"])
def test_a_prompt_has_one_bos(llama, prompt):
    response = answers(llama, ask(prompt, "1"))["1"]
    ids = llama.loaded.tokenizer.encode(response.prompt.removeprefix("<s>"), add_special_tokens=False)
    assert response.input_tokens == 1 + len(ids)


@pytest.mark.slow
def test_the_default_is_greedy_whatever_the_model_folder_says_and_temperature_0_is_no_error(llama):
    texts = {
        r.text
        for r in answers(llama, *(ask("hi", str(seed), sampling=Sampling(seed=seed)) for seed in range(4))).values()
    }
    assert len(texts) == 1  # the folder's generation_config.json says do_sample: true
    zero = answers(llama, ask("hi", "zero", sampling=Sampling(temperature=0.0)))["zero"]
    assert zero.error is None and {zero.text} == texts


@pytest.mark.slow
def test_two_models_at_once_answer_each_for_itself(llama, models, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "other"
    shutil.copytree(models("llama", chat=True, context=256), folder)
    changed = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        changed.get_input_embeddings().weight.neg_()
    changed.save_pretrained(folder)
    other = build(folder, engine=llama.config.engine)
    requests = [ask(f"{SHORT} {n}", str(n)) for n in range(3)]
    own, others = ({r.key: r.text for r in made.answer(requests)} for made in (llama, other))
    assert own != others
    mixed = {"own": {}, "others": {}}
    for mine, theirs in zip(llama.answer(requests), other.answer(requests), strict=True):
        mixed["own"][mine.key], mixed["others"][theirs.key] = mine.text, theirs.text
    other.close()
    assert mixed == {"own": own, "others": others}
