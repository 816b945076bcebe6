"""A request knows how sensitive it is: the plan, the backend and the network guard each refuse what may not leave."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from httpx2 import URL

from harness.backends.servers.dispatch import Answer, Attempt, run
from harness.config.base import validate
from harness.config.model import LimitsConfig, model_of
from harness.config.run import RunConfig
from harness.errors import PolicyError
from harness.runs.plan import make_plan
from harness.security.egress import Server, carrying, server
from harness.values import GenerateRequest, LoglikelihoodRequest, Prompt, Request, Response

FAR, NEAR = "https://far.example/v1", "http://127.0.0.1:8000/v1"
STOPPED = r"restricted data on their way to far\.example were stopped(.|\n)*no setting overrides this"


def place(url: str, **more: str) -> Server:
    return server(model_of(name="m", backend="openai", base_url=url, **more))


def sent(url: str) -> SimpleNamespace:
    return SimpleNamespace(url=URL(url), headers={})


def test_the_guard_stops_restricted_data_on_their_way_elsewhere():
    with carrying("restricted"), pytest.raises(PolicyError, match=STOPPED):
        place(FAR).guard(sent(FAR))
    with carrying("internal"):  # to which hosts is the plan's to say
        place(FAR).guard(sent(FAR))
    place(FAR).guard(sent(FAR))  # a list of models holds no data
    with carrying("restricted"):
        place(NEAR).guard(sent(NEAR))


def test_a_proxy_elsewhere_is_elsewhere():
    with carrying("restricted"), pytest.raises(PolicyError, match=r"far\.example"):
        place(NEAR, proxy="http://far.example:3128").guard(sent(NEAR))


def test_the_guard_knows_what_each_attempt_holds_in_its_own_thread():
    asked = place(FAR)

    def ask(request: Request, attempt: Attempt) -> Answer:
        asked.guard(sent(FAR))
        return Answer(Response(request.key, None, text="hi"), None)

    public = GenerateRequest("a", "1", Prompt("hello"), sensitivity="public")
    limits = LimitsConfig()
    assert [response.text for response in run([public], ask, limits=limits)] == ["hi"]
    with pytest.raises(PolicyError, match=STOPPED):
        list(run([GenerateRequest("b", "2", Prompt("hello"), sensitivity="restricted")], ask, limits=limits))


def test_what_nobody_has_classified_stays_here():
    assert GenerateRequest("k", "s", Prompt("hello")).sensitivity == "restricted"
    assert LoglikelihoodRequest("k", "s", Prompt("hello"), (" a",)).sensitivity == "restricted"


@pytest.mark.parametrize("sensitivity", ["public", "internal", "restricted"])
def test_requests_are_as_sensitive_as_their_task(tmp_path: Path, sensitivity: str):
    (tmp_path / "rows.jsonl").write_text('{"q": "1+1=", "a": "2"}\n')
    kinds = {"generate": "score: exact_match", "cloze": ""}
    for kind, more in kinds.items():
        (tmp_path / f"{kind}.yaml").write_text(
            f"task: {kind}\nsource: written here\nlicence: Apache-2.0\ndata: {{file: rows.jsonl}}\nkind: {kind}\n"
            f"sensitivity: {sensitivity}\nprompt: '{{q}}'\nanswer: a\n{more}\n"
        )
    tasks = [str(tmp_path / f"{kind}.yaml") for kind in kinds]
    given = {"run": "r", "tasks": tasks, "models": [{"name": "m", "backend": "scripted"}]}
    plan = make_plan(validate(RunConfig, given, "r.yaml"))
    assert [type(cell.requests[0]) for cell in plan.cells] == [GenerateRequest, LoglikelihoodRequest]
    assert {request.sensitivity for cell in plan.cells for request in cell.requests} == {sensitivity}
