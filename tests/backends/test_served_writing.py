"""What a task asks about the writing of an answer, at servers: forms, thinking, sureness; and the tokens it took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import score as finish
from harness.backends import load
from harness.backends.servers import hold
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig
from harness.errors import BackendError
from harness.reports.notes import sentence
from harness.runs.carry_out import carry_out
from harness.runs.plan import make_plan
from harness.store.rows import read_jsonl
from harness.values import Confidence, Form, GenerateRequest, Prompt, Response, Sampling, Thinking, Writing
from tests.support.servers import Reply, SyntheticServer

pytestmark = pytest.mark.slow

PRICE = {"input": 1.0, "output": 10.0}
SCHEMA = '{"type": "object"}'


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.002)


def events(*chunks: dict[str, Any]) -> Reply:
    return Reply(body=b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks) + b"data: [DONE]\n\n")


def said(text: str = "", finish: str = "stop", thinking: str = "", used: tuple[int, int, int] = (7, 4, 0)) -> Reply:
    """An answer of an OpenAI server: `used` are its tokens of input, output, and thinking."""
    told = {"prompt_tokens": used[0], "completion_tokens": used[1]}
    told |= {"completion_tokens_details": {"reasoning_tokens": used[2]}} if used[2] else {}
    thought = [{"choices": [{"delta": {"reasoning_content": thinking}}]}] if thinking else []
    return events(
        *thought, {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}, {"choices": [], "usage": told}
    )


def served(reply: Any, *, kind: str = "openai", request: dict[str, Any] | None = None, **changes: Any):
    """Returns the response to one request, and the body that was sent."""
    answer = lambda order, body: Reply(status=404) if not body else reply(body) if callable(reply) else reply
    with SyntheticServer(answer) as server:
        given = {"name": "m", "backend": kind, "base_url": server.url, "price": PRICE}
        model = load(model_of(**given | changes))
        asked = {"max_tokens": 50, **(request or {})}
        (response,) = model.answer([GenerateRequest("k", "s", Prompt("why is it so"), **asked)])
        return response, server.bodies[-1]


def answered(reply: Any, **changes: Any) -> Response:
    return served(reply, **changes)[0]


# --- thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_thinking_that_a_server_tells_apart_is_kept_counted_and_no_part_of_the_text():
    response = answered(said("four", thinking="two and two", used=(7, 9, 6)))
    assert (response.text, response.output_tokens) == ("four", 9)
    assert response.thinking.text == "two and two" and response.thinking.tokens == 6
    assert response.thinking.cut is False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "finish", "answer", "thought", "cut"),
    [
        ("<think>two and two</think>\n\nfour", "stop", "four", "two and two", False),
        ("two and two</think>four", "stop", "four", "two and two", False),  # the template opened it
        ("<think>two and", "length", "", "two and", True),
        ("<think>two and", "stop", "", "two and", True),  # a stop string that the server found in it
        ("[THINK]hm[/THINK]four", "stop", "four", "hm", False),
        ("in HTML <think> is no tag", "stop", "in HTML <think> is no tag", None, None),
        ("<reasoning>asked for</reasoning>four", "stop", "<reasoning>asked for</reasoning>four", None, None),
        ("four", "length", "four", None, None),
    ],
)
def test_thinking_that_a_server_leaves_in_the_text_is_taken_out(text, finish, answer, thought, cut):
    response = answered(said(text, finish))
    assert response.text == answer
    assert response.thinking == (None if thought is None else Thinking(thought, cut=cut))


def test_markers_of_the_task_are_those_that_count():
    writing = Writing(markers=("(", ")"))
    assert answered(said("(hm) four"), request={"writing": writing}).text == "four"
    assert answered(said("<think>hm</think>four"), request={"writing": writing}).text == "<think>hm</think>four"


@pytest.mark.slow
@pytest.mark.parametrize(
    "reply",
    [
        said("", "length", thinking="two and"),
        said("<think>two and", "length"),
        said("", "length", used=(7, 50, 50)),  # thinking that is not shown, but counted
    ],
)
def test_an_answer_cut_off_while_thinking_is_its_own_failure(reply: Reply, tmp_path: Path):
    row, _, line = run(tmp_path, reply)
    assert row.asked.failures == {"thinking_cut": 3} and line["thinking_tokens"] in (None, 50)


def test_an_answer_cut_off_after_thinking_is_truncated(tmp_path: Path):
    row, _, line = run(tmp_path, said("the answer is", "length", thinking="hm", used=(7, 40, 12)))
    assert row.asked.failures == {"truncated": 3} and line["thinking_tokens"] == 12
    assert row.tokens.thinking_tokens == 36


def run(folder: Path, reply: Reply, more: str = "extract: number", **changes: Any):
    """Returns the row and the notes of a run with three samples, and the first line of its records."""
    (folder / "t.jsonl").write_text("".join(json.dumps({"q": f"{i}+1", "a": str(i + 1)}) + "\n" for i in range(3)))
    (folder / "t.yaml").write_text(
        f"task: t\ndata: {{file: t.jsonl}}\nkind: generate\nprompt: '{{q}}'\nanswer: a\n{more}"
    )
    with SyntheticServer(lambda order, body: reply if body else Reply(status=404)) as server:
        model = {"name": "m", "backend": "openai", "base_url": server.url, "price": PRICE} | changes
        given = {"run": "r", "tasks": [str(folder / "t.yaml")], "models": [model], "latency": {"requests": 0}}
        for _ in carry_out(make_plan(validate(RunConfig, given, "test")), folder / "out"):
            pass
    summary = finish(folder / "out").summary
    notes = [sentence(note) for note in summary.notes]
    return summary.rows[0], notes, read_jsonl(folder / "out" / "records.jsonl")[0]


# --- what is asked ---------------------------------------------------------------------------------------------------


def claude(text: str = "{}") -> Reply:
    told = (
        {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 4, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )
    return Reply(body="".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in told).encode())


def gemini(text: str = "{}", **more: Any) -> Reply:
    one = {"content": {"parts": [{"text": text}]}, "finishReason": "STOP", **more}
    told = {"candidates": [one], "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2}}
    return Reply(body=f"data: {json.dumps(told)}\n\n".encode())


def test_forms_and_thinking_fit_anthropics_typed_model():
    from anthropic.types.message_create_params import MessageCreateParamsStreaming
    from pydantic import TypeAdapter

    format = {"type": "json_schema", "schema": {"type": "object"}}
    cases = [
        (Writing(form=Form(schema=SCHEMA)), "output_config", {"format": format}),
        (Writing(thinking="off"), "thinking", {"type": "disabled"}),
        (Writing(thinking="on"), "thinking", {"type": "adaptive"}),
        (Writing(thinking_budget=2000), "thinking", {"type": "enabled", "budget_tokens": 2000}),
    ]
    for writing, key, value in cases:
        response, body = served(claude(), kind="anthropic", request={"writing": writing})
        assert body[key] == value and not response.provider.refused
        body.pop("temperature")
        TypeAdapter(MessageCreateParamsStreaming).validate_python(body)


@pytest.mark.slow
def test_forms_and_thinking_fit_googles_typed_model():
    from google.genai import types

    json_form = {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}}
    enum_form = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a", "b"]}}
    cases = [
        (Writing(form=Form(schema=SCHEMA)), json_form),
        (Writing(form=Form(choices=("a", "b"))), enum_form),
    ]
    for writing, wanted in cases:
        _, body = served(gemini(), kind="google", request={"writing": writing})
        assert {key: body["generationConfig"][key] for key in wanted} == wanted
        types.GenerateContentConfig.model_validate(body["generationConfig"])
    for writing, budget in (
        (Writing(thinking="off"), 0),
        (Writing(thinking="on"), -1),
        (Writing(thinking_budget=9), 9),
    ):
        _, body = served(gemini(), kind="google", request={"writing": writing})
        asked = types.GenerateContentConfig.model_validate(body["generationConfig"]).thinking_config
        assert (asked.thinking_budget, asked.include_thoughts) == (budget, budget != 0)


def test_an_open_server_is_asked_for_thinking_by_the_switch_of_its_template():
    _, body = served(said("four"), request={"writing": Writing(thinking="off")})
    assert body["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}


def test_what_an_interface_has_no_word_for_is_named_with_the_answer():
    drawn = Sampling(temperature=0.5, min_p=0.1, repetition_penalty=1.2, seed=3)
    asked = {"sampling": drawn, "writing": Writing(form=Form(regex="a"))}
    response, _ = served(claude(), kind="anthropic", request=asked)
    assert set(response.provider.refused) == {"seed", "min_p", "repetition_penalty", "constrain"}
    response, _ = served(gemini(), kind="google", request=asked)
    assert set(response.provider.refused) == {"min_p", "repetition_penalty", "constrain"}
    response, body = served(said("four"), request=asked)
    assert not response.provider.refused and (body["min_p"], body["repetition_penalty"]) == (0.1, 1.2)


def test_a_repetition_penalty_is_asked_for_without_sampling_too():
    _, body = served(said("four"), request={"sampling": Sampling(repetition_penalty=1.2)})
    assert body["repetition_penalty"] == 1.2 and "seed" not in body


def test_how_sure_a_model_was_is_told_where_its_server_tells_it():
    told = {"content": [{"token": "fo", "logprob": -0.5}, {"token": "ur", "logprob": -1.5}]}
    reply = events({"choices": [{"delta": {"content": "four"}, "logprobs": told, "finish_reason": "stop"}]})
    sure = {"writing": Writing(logprobs=True)}
    response, body = served(reply, request=sure)
    assert body["logprobs"] is True
    assert response.confidence == Confidence(-1.0, -1.5, -0.5)
    assert "logprobs" in answered(said("four"), request=sure).provider.refused
    result = {"logprobsResult": {"chosenCandidates": [{"token": "four", "logProbability": -0.25, "tokenId": 3}]}}
    response, body = served(gemini("four", **result), kind="google", request=sure)
    assert body["generationConfig"]["responseLogprobs"] is True and response.confidence.mean == -0.25


# --- tokens ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    """A folder with a tokenizer whose tokens are words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    inner = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("words")
    inner.save(str(folder / "tokenizer.json"))
    return folder


CLAIMS = {  # (input, output, thinking) -> whether it can be true of two words after a prompt, at most 50 tokens
    (7, 4, 0): True,
    (7, 58, 0): True,  # servers differ in whether they count what ends an answer
    (7, 59, 0): False,
    (7, 0, 0): False,
    (0, 4, 0): False,
}


@pytest.mark.slow
@pytest.mark.parametrize(("claim", "true"), CLAIMS.items())
def test_a_usage_that_cannot_be_true_is_not_shown_as_tokens(claim, true, tokenizer):
    response = answered(said("five six", used=claim))
    if true:
        assert (response.input_tokens, response.output_tokens) == claim[:2] and response.usd is not None
        return
    assert response.input_tokens is response.output_tokens is response.usd is None
    assert response.counted.how.startswith("not believed") and response.counted.told["output"] == claim[1]
    ours = answered(said("five six", used=claim), path=str(tokenizer))
    assert (ours.input_tokens, ours.output_tokens) == (4, 2)
    assert ours.counted.how.startswith("counted here, not believed") and ours.usd is None


def test_a_limit_that_a_server_ignores_is_named_and_its_count_believed():
    response = answered(said("tok " * 300, used=(7, 300, 0)))
    assert response.output_tokens == 300 and response.usd is not None
    assert response.provider.refused["max_tokens"] == "ignored: 300 tokens came, 50 were allowed"
    thought = answered(said("four", used=(7, 300, 290)))  # some bound the answer alone
    assert thought.output_tokens == 300 and not thought.provider.refused


def test_a_usage_that_is_missing_is_counted_here_where_a_tokenizer_is_known(tokenizer, tmp_path: Path):
    reply = events({"choices": [{"delta": {"content": "five six"}, "finish_reason": "stop"}]})
    assert answered(reply).output_tokens is None
    assert answered(reply, path=str(tokenizer)).output_tokens == 2
    row, notes, line = run(tmp_path, reply)
    assert line["output_tokens"] is row.tokens.output_tokens is row.throughput.output_tokens is None
    assert row.throughput.output_tokens_per_s is row.cost.usd is None
    assert "m: the tokens of 3 of 3 answers are not told by the server." in notes


# --- what a provider will not do -------------------------------------------------------------------------------------


def refused(message: str, code: str | None = None, status: int = 400) -> Reply:
    return Reply(status=status, body=json.dumps({"error": {"message": message, "code": code}}).encode())


TOO_LONG = {  # as each says it; where no field tells what it is about, the server's own words stand
    "openai": ({"message": "4097 tokens, 4096 at most", "code": "context_length_exceeded"}, "context too long: "),
    "vllm": ({"message": "'max_tokens' is too large", "param": "input_tokens", "code": 400}, "context too long: "),
    "llama.cpp": ({"message": "exceeds the context", "type": "exceed_context_size_error"}, "context too long: "),
    "older vllm": ({"message": "'max_tokens' is too large: 50.", "code": 400}, "http 400: 'max_tokens' is too large"),
    "anthropic": ({"message": "prompt is too long: 210 > 200", "type": "invalid_request_error"}, "http 400: prompt is"),
    "google": ({"message": "input token count exceeds", "status": "INVALID_ARGUMENT"}, "http 400: input token"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("said", "error"), TOO_LONG.values(), ids=TOO_LONG)
def test_a_context_too_long_at_the_provider_fails_its_sample_at_once_and_changes_no_setting(said, error):
    def reply(body: dict[str, Any]) -> Reply:
        assert body["max_tokens"] == 50
        return Reply(status=400, body=json.dumps({"error": said}).encode())

    response = answered(reply)
    assert response.error.startswith(error) and not response.provisional
    assert len(response.attempts) == 1 and response.usd == 0


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, {"message": "Country, region, or territory", "code": "unsupported_country_region_territory"}),
        (400, {"message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}),
    ],
)
def test_a_region_without_the_model_stops_the_run_and_does_not_blame_the_key(status, said):
    with pytest.raises(BackendError) as caught:
        answered(Reply(status=status, body=json.dumps({"error": said}).encode()))
    assert "the server does not offer m from here" in str(caught.value) and said["message"] in str(caught.value)
    assert "a region that has it" in caught.value.fix and "key" not in str(caught.value)


def test_a_prompt_that_the_provider_filters_is_a_refusal_and_no_error(tmp_path: Path):
    filtered = refused("The response was filtered due to the prompt triggering the content policy", "content_filter")
    response = answered(filtered)
    assert response.error is None and response.text == "" and response.provider.refusal == "content filter: the prompt"
    assert response.usd is None and len(response.attempts) == 1
    row, notes, _ = run(tmp_path, filtered)
    assert row.asked.failures == {"no_answer": 3} and row.incomplete is None
    assert any("3 of 3 answers are refusals by the provider's own signal" in note for note in notes)
