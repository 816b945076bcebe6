"""What a task wants of a generated text reaches the engine, and what cannot be had is said of that request."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.backends import load
from harness.backends.local.backend import TransformersBackend
from harness.backends.local.render import ids_digest
from harness.config.model import model_of
from harness.config.task import STOP_LIMIT
from harness.values import Form, GenerateRequest, Message, Request, Sampling, Writing
from tests.support.asking import prompt_of

SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
LONG = "the cat sat on the red mat and the dog ran home far and " * 3


@pytest.fixture(scope="module")
def llama(models):
    path = models("llama", chat=True, context=256)
    made = TransformersBackend(model_of(name="m", path=str(path), device="cpu", dtype="fp32", threads=1))
    yield made
    made.close()


def ask(prompt="the cat", key="k", **changes) -> Request:
    names = Writing.__dataclass_fields__.keys() & changes.keys()
    writing = Writing(**{name: changes.pop(name) for name in names})
    return GenerateRequest(
        key, changes.pop("sample_id", "7"), prompt_of(prompt), **{"max_tokens": 12, **changes}, writing=writing
    )


def one(backend, request: Request):
    (response,) = backend.answer([request])
    return response


# --- forms and prefill -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_row_of_a_batch_is_held_to_its_own_form(llama):
    forms = {
        "schema": Form(schema=json.dumps(SCHEMA)),
        "regex": Form(regex="[a-c]{3}"),
        "choices": Form(choices=("red", "blue")),
    }
    requests = [ask(key=key, form=form, max_tokens=40) for key, form in forms.items()] + [ask(key="free")]
    texts = {r.key: r.text for r in llama.answer(requests)}
    assert isinstance(json.loads(texts["schema"])["ok"], bool)
    assert len(texts["regex"]) == 3 and set(texts["regex"]) <= set("abc")
    assert texts["choices"] in ("red", "blue")
    assert texts["free"] == one(llama, ask()).text


def test_a_prefill_is_part_of_the_prompt_and_of_the_form(llama):
    messages = (Message("user", "is it?"), Message("assistant", '{"ok": t'))
    response = one(llama, ask(messages, prefill='{"ok": t', form=Form(schema=json.dumps(SCHEMA))))
    assert response.prompt == '<s>[user] is it? [assistant]{"ok": t'
    assert response.text == "rue}"
    assert response.input_tokens == len(llama.loaded.tokenizer.encode(response.prompt, add_special_tokens=False))


def test_what_cannot_be_held_is_an_error_of_that_request(llama):
    requests = [
        ask(key="keyword", form=Form(schema='{"uniqueItems": true}')),
        ask(key="prefill", form=Form(choices=("red", "blue")), prefill="green"),
        ask(key="good", form=Form(choices=("red", "blue"))),
    ]
    errors = {r.key: r.error for r in llama.answer(requests)}
    assert "'schema' cannot be used" in errors["keyword"] and "uniqueItems" in errors["keyword"]
    assert errors["prefill"] == "sample '7': no answer of the form asked for begins with the prefill 'green'"
    assert errors["good"] is None


# --- thinking --------------------------------------------------------------------------------------------------------


def test_a_budget_ends_the_thinking_between_markers_of_the_task(llama):
    asked = {"markers": ("(think)", "(done)"), "thinking_budget": 4, "max_tokens": 40}
    response = one(llama, ask("why? (think)", **asked))
    end = len(llama.loaded.tokenizer.encode("(done)", add_special_tokens=False))
    assert response.thinking.forced and not response.thinking.cut
    assert response.thinking.tokens == 4 + end and response.output_tokens > 4 + end
    assert "(done)" not in response.text


def test_an_answer_that_was_not_begun_says_so(llama):
    response = one(llama, ask("why? (think)", markers=("(think)", "(done)"), max_tokens=5))
    assert (response.text, response.finish_reason, response.output_tokens) == ("", "length", 5)
    assert response.thinking.cut and response.thinking.tokens == 5


def test_the_switch_reaches_the_chat_template(llama, monkeypatch):
    hi = (Message("user", "hi"),)
    assert "no switch for thinking" in one(llama, ask(hi, thinking="on")).error
    assert one(llama, ask(hi, thinking="off")).applied.otherwise["thinking_switch"] == "the chat template has none"
    assert "this prompt has none" in one(llama, ask("hi", thinking="on")).error
    template = (
        "{{ messages[0].content }}{{ '?' if enable_thinking is not defined else '+' if enable_thinking else '-' }}"
    )
    monkeypatch.setattr(llama.loaded.tokenizer, "chat_template", template)
    sent = [one(llama, ask(hi, thinking=switch)).prompt for switch in ("auto", "on", "off")]
    assert sent == ["hi?", "hi+", "hi-"]


def test_a_prefill_never_becomes_a_thought(llama, monkeypatch):
    monkeypatch.setattr(llama.loaded.tokenizer, "chat_template", "{{ messages[-1].content }}(think)")
    begun = (Message("user", "hi"), Message("assistant", "Well"))
    response = one(llama, ask(begun, prefill="Well", markers=("(think)", "(done)")))
    assert response.error == "sample '7': the chat template opens (think), where a prefill would be thought"


# --- confidence, time, prompt ----------------------------------------------------------------------------------------


def test_confidence_is_told_where_it_is_asked_for(llama):
    told = one(llama, ask(logprobs=True)).confidence
    assert told.minimum <= told.mean <= 0 and told.first <= 0
    assert one(llama, ask()).confidence is None


def test_what_was_not_begun_in_time_is_an_error_and_not_an_empty_answer(llama):
    responses = list(llama.answer([ask(key=str(i), wall_s=1e-9) for i in range(3)]))
    for response in responses:
        assert (response.text, response.finish_reason) == (None, "time")
        assert "wall_s were over before it was begun" in response.error


def test_the_digest_is_of_the_token_ids_that_were_sent(llama):
    sent = llama.loaded.tokenizer.encode("the cat")
    assert one(llama, ask()).applied.prompt_ids_sha256 == ids_digest(sent)
    assert ids_digest([1, 23]) != ids_digest([12, 3])


@pytest.mark.parametrize(
    ("opening", "sent"),
    [
        ("{{ bos_token }}{{ bos_token }}", "<s>hi"),
        ("{{ bos_token }}\n {{ bos_token }}\n{{ bos_token }}", "<s>hi"),
        ("\n{{ bos_token }}", "\n<s>hi"),
    ],
)
def test_a_template_never_gives_a_model_two_bos(llama, monkeypatch, opening, sent):
    hi, tokenizer = (Message("user", "hi"),), llama.loaded.tokenizer
    monkeypatch.setattr(tokenizer, "chat_template", opening + "{{ messages[0].content }}")
    response = one(llama, ask(hi))
    assert response.prompt == sent and "<s>" in response.applied.otherwise["bos"]
    sent_ids = tokenizer.encode(sent, add_special_tokens=False)
    assert sent_ids.count(0) == 1 and response.applied.prompt_ids_sha256 == ids_digest(sent_ids)


def test_a_template_that_fails_is_refused(llama, monkeypatch):
    tokenizer, hi = llama.loaded.tokenizer, (Message("user", "hi"),)
    for template in ("{{ messages[0].content + 1 }}", "{{ nothing.at.all }}", "{% if %}"):
        monkeypatch.setattr(tokenizer, "chat_template", template)
        assert "chat template refuses the messages" in one(llama, ask(hi)).error
    monkeypatch.setattr(tokenizer, "chat_template", None)
    assert "the model has no chat template" in one(llama, ask(hi)).error


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"stop": ("",)}, "a stop string is empty"),
        ({"stop": ("x" * (STOP_LIMIT + 1),)}, f"has {STOP_LIMIT + 1} characters, the limit is {STOP_LIMIT}"),
        ({"max_tokens": 0}, "ask for at least one token"),
        ({"max_tokens": 256}, "leaves no room for a prompt in a context of 256 tokens"),
        ({"sampling": Sampling(temperature=-1)}, "temperature is -1"),
    ],
)
def test_bad_settings_are_an_error_of_that_request(llama, changes, what):
    assert what in one(llama, ask(**changes)).error


# --- epochs ----------------------------------------------------------------------------------------------------------


def test_epochs_share_one_prefill_and_draw_apart(llama):
    drawn = Sampling(temperature=1.0, seed=5)
    requests = [ask(LONG, key=str(k), epoch=k, sampling=drawn) for k in range(4)]
    together = {r.key: r for r in llama.answer(requests)}
    whole = len(llama.loaded.tokenizer.encode(LONG))
    assert all(r.applied.shared_tokens == whole - 1 for r in together.values())
    assert len({r.text for r in together.values()}) == 4
    for request in requests[1:3]:
        assert one(llama, request).text == together[request.key].text
    other = replace(requests[1], sample_id="8")
    assert one(llama, other).text != together["1"].text


# --- the scripted model ----------------------------------------------------------------------------------------------


def test_the_scripted_model_thinks_before_its_answer():
    fake = load(model_of(name="m", backend="scripted", script=[{"thinking": "two and two", "text": "is four"}]))
    free = one(fake, ask())
    assert (free.text, free.output_tokens, free.thinking.text) == ("is four", 5, "two and two")
    short = one(fake, ask(thinking_budget=1))
    assert (short.text, short.output_tokens, short.thinking.forced) == ("is four", 3, True)
    cut = one(fake, ask(max_tokens=3))
    assert (cut.text, cut.finish_reason, cut.thinking.cut) == ("", "length", True)


@pytest.mark.slow
def test_the_scripted_model_goes_on_from_a_prefill_and_says_that_it_is_held_to_nothing():
    messages = (Message("user", "hi"), Message("assistant", "Well"))
    response = one(load(model_of(name="m", backend="scripted")), ask(messages, prefill="Well", form=Form(regex="a")))
    assert response.prompt == "user: hi\nassistant: Well"
    assert response.applied.otherwise == {"constraint": "not held to: the answer is scripted"}
