"""The log-probability of given text, as three kinds of server tell it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.backends import load
from harness.backends.servers import hold
from harness.backends.servers.echoed_logprobs import Misspelt, NotTold, given_logprob
from harness.config.model import model_of
from harness.errors import BackendError
from harness.values import LoglikelihoodRequest, Prompt
from tests.support.servers import Reply, SyntheticServer

TOKENS = ["<s>", "The", " cat", " sat", " down"]
VALUES = [None, -1.0, -2.0, -0.5, -0.25]
TEXT, PROMPT = "The cat sat down", "The cat"


def vllm(places: bool = True, generated: str | None = " now") -> dict[str, Any]:
    """An echo: with the place of each token as vLLM does, or without as SGLang."""
    more = [] if generated is None else [generated]
    texts, values = ["The", " cat", " sat", " down", *more], [None, -2.0, -0.5, -0.25, *(-9.0 for _ in more)]
    tops = [None, {" dog": -1.0, " cat": -2.0}, {" sat": -0.5}, {" down": -0.25}, *({"x": -9.0} for _ in more)]
    begins = [sum(map(len, texts[:i])) for i in range(len(texts))]
    told = {"tokens": texts, "token_logprobs": values, "top_logprobs": tops}
    told["text_offset"] = begins if places else [-1] * len(texts)
    used = {"prompt_tokens": 4, "completion_tokens": len(more)}
    return {"choices": [{"text": TEXT + "".join(more), "logprobs": told, "finish_reason": "length"}], "usage": used}


def prompt_logprobs(tokens: list[str] = TOKENS, ranks: tuple[int, ...] = (0, 3, 2, 1, 1)) -> dict[str, Any]:
    told = [
        None if value is None else {str(7 * i): {"logprob": value, "rank": rank, "decoded_token": text}}
        for i, (text, value, rank) in enumerate(zip(tokens, VALUES, ranks))
    ]
    choice = {"text": " now", "finish_reason": "length", "logprobs": None, "prompt_logprobs": told}
    return {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}


@pytest.mark.parametrize("body", [vllm(), vllm(places=False), vllm(False, None), prompt_logprobs()])
def test_every_way_tells_the_same_of_what_follows_the_prompt(body):
    assert given_logprob(body, PROMPT, TEXT) == (-0.75, True)
    assert given_logprob(body, PROMPT + " ", TEXT) == (-0.75, True)  # its white space belongs to what follows
    assert given_logprob(body, "The", TEXT) == (-2.75, False)


def test_what_is_generated_after_the_text_is_not_read():
    assert given_logprob(vllm(generated=" down"), PROMPT, TEXT) == (-0.75, True)


def test_characters_of_several_tokens_matter_only_where_they_are_scored():
    body = prompt_logprobs(["The", "\ufffd", "\ufffd cat", " sat", " down"])
    assert given_logprob(body, "Theé cat", "Theé cat sat down") == (-0.75, True)
    with pytest.raises(Misspelt, match="do not spell the text"):
        given_logprob(body, "The", "Theé cat sat down")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": [{"logprobs": None}]},
        {"choices": [{"logprobs": {"tokens": [" now"], "token_logprobs": [-1.0]}}], "usage": {"completion_tokens": 1}},
        {"choices": [{"prompt_logprobs": [None]}]},
        {"choices": [{}]},
    ],
)
def test_an_answer_without_them_is_no_score(body):
    with pytest.raises((NotTold, Misspelt)):
        given_logprob(body, PROMPT, TEXT)


class Server:
    """Scores `TEXT` in one way only: what it is asked in another it refuses, or answers without log-probabilities."""

    def __init__(self, way: str, *, silent: bool = False) -> None:
        self.way, self.silent, self.asked = way, silent, []

    def __call__(self, order: int, body: dict[str, Any]) -> Reply:
        if not body:  # the list of models
            return Reply(status=404)
        self.asked.append("echo" if "echo" in body else "prompt_logprobs" if "prompt_logprobs" in body else "neither")
        if self.asked[-1] == self.way:
            return Reply(body=json.dumps(vllm() if self.way == "echo" else prompt_logprobs()).encode())
        if self.silent:
            plain = {"choices": [{"text": " now", "finish_reason": "length"}], "usage": {"prompt_tokens": 5}}
            return Reply(body=json.dumps(plain).encode())
        said = {"error": {"message": f"{self.asked[-1]} is not supported", "param": self.asked[-1]}}
        return Reply(status=400, body=json.dumps(said).encode())


def score(server: Server, n: int = 3, **changes: Any):
    limits = {"concurrency": 2}
    with SyntheticServer(server) as place:
        given = {"name": "m", "backend": "openai", "base_url": place.url, "api": "completions", "limits": limits}
        model = load(model_of(**given | changes))
        return list(
            model.answer([LoglikelihoodRequest(f"k{i}", str(i), Prompt(PROMPT), (" sat down",)) for i in range(n)])
        )


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.002)


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True], ids=["refused", "not told"])
def test_where_echo_is_off_prompt_logprobs_are_asked_for(silent: bool):
    server = Server("prompt_logprobs", silent=silent)
    responses = score(server)
    assert [r.logprobs for r in responses] == [(-0.75,)] * 3 and all(r.greedy == (True,) for r in responses)
    assert server.asked == ["echo", *["prompt_logprobs"] * 7]  # four to check that order changes nothing


def test_where_both_are_off_what_to_do_is_told():
    with pytest.raises(BackendError, match=r"prompt_logprobs is not supported(.|\n)*as: generate"):
        score(Server("none"))


def test_the_check_of_the_order_is_paid_for_with_the_first_answer():
    first, *others = sorted(score(Server("echo"), price={"input": 1.0, "output": 10.0}), key=lambda r: -len(r.attempts))
    assert [line.outcome for line in first.attempts] == ["order check: answered"] * 4 + ["answered"]
    assert first.usd == pytest.approx(5 * 14e-6)
    assert all(r.usd == pytest.approx(14e-6) for r in others)


def test_tokens_that_do_not_spell_the_text_fail_their_sample_and_not_the_run():
    class Odd(Server):
        def __call__(self, order: int, body: dict[str, Any]) -> Reply:
            if not body:
                return Reply(status=404)
            return Reply(body=json.dumps(prompt_logprobs(["The", " cat", " \ufffd", "\ufffd", "?"])).encode())

    responses = score(Odd("prompt_logprobs"))
    assert all("do not spell the text" in r.error and not r.provisional for r in responses)
