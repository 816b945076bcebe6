"""Our numbers are lm-eval's: same texts in, the peer's installed package and both of our methods side by side.

Whole tasks, prompts and scores included, are compared in test_lm_eval_tasks.py.
"""

from __future__ import annotations

import csv
import json
import re

import pytest

from harness.backends.local.backend import TransformersBackend
from harness.config.model import model_of
from harness.values import GenerateRequest, LoglikelihoodRequest, Prompt

pytestmark = [pytest.mark.shared, pytest.mark.slow]
pytest.importorskip("lm_eval", reason="the peer is in the test extra")

SUBJECTS = ("abstract_algebra", "anatomy", "college_computer_science", "business_ethics")
Item = tuple[str, tuple[str, ...]]  # a context and its continuations, as both sides get them


@pytest.fixture(scope="module", params=["stories260K", "TinyStories-656K"])
def pair(request, shared):
    """The same weights in the peer and in both of our methods."""
    from lm_eval.models.huggingface import HFLM

    path = str(shared / "models" / request.param)
    asked = {"name": "m", "path": path, "dtype": "fp32", "device": "cpu", "threads": 1}
    ours = [TransformersBackend(model_of(**asked, engine=engine)) for engine in ("plain", "auto")]
    yield HFLM(pretrained=path, device="cpu", dtype="float32", batch_size=16), ours
    for backend in ours:
        backend.close()


def mmlu(shared, n=4) -> list[Item]:
    """Returns n questions of each subject behind five worked ones, as lm-eval's MMLU template writes them."""

    def block(row):
        lettered = "".join(f"{letter}. {text}\n" for letter, text in zip("ABCD", row[1:5]))
        return f"{row[0].strip()}\n{lettered}Answer:"

    items = []
    for subject in SUBJECTS:
        with (shared / f"data/mmlu/dev/{subject}_dev.csv").open(newline="") as dev:
            shots = "".join(f"{block(row)} {row[5]}\n\n" for row in list(csv.reader(dev))[:5])
        name = subject.replace("_", " ")
        head = f"The following are multiple choice questions (with answers) about {name}.\n\n"
        with (shared / f"data/mmlu/test/{subject}_test.csv").open(newline="") as test:
            items += [(head + shots + block(row), (" A", " B", " C", " D")) for row in list(csv.reader(test))[:n]]
    return items


def arc_easy(shared, n=40) -> list[Item]:
    lines = (shared / "data/arc_easy.jsonl").read_text().splitlines()[:n]
    rows = [json.loads(line) for line in lines]
    return [(f"{row['query']}\nAnswer:", tuple(f" {choice}" for choice in row["choices"])) for row in rows]


def hellaswag(shared, n=40) -> list[Item]:
    lines = (shared / "data/hellaswag_val_1000.jsonl").read_text().splitlines()[:n]
    rows = [json.loads(line) for line in lines]
    clean = lambda text: re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")
    return [
        (clean(f"{row['activity_label']}: {row['ctx']}"), tuple(f" {clean(text)}" for text in row["endings"]))
        for row in rows
    ]


ODD: list[Item] = [  # where the two could part
    ("", ("Once upon", " a time")),
    ("The answer is: ", ("A", " B")),
    ("trailing line\n\n", ("x", "y")),
    ("word " * 700, ("left of the window is cut", "y")),
    ("<s>Once upon", (" a time",)),
    ("<|start_story|>Once upon", (" a time", " a")),
    ("same", (" same", " same", " sa")),
    ("snow ☃ and ž", (" ☃ x", " é y")),
]


@pytest.mark.parametrize("items", [mmlu, arc_easy, hellaswag])
def test_log_probabilities_are_the_peers(pair, shared, items):
    from lm_eval.api.instance import Instance

    peer, ours = pair
    asked = items(shared)
    flat = [(context, text) for context, texts in asked for text in texts]
    theirs = peer.loglikelihood([Instance("loglikelihood", {}, args, 0) for args in flat], disable_tqdm=True)
    requests = [
        LoglikelihoodRequest(str(i), str(i), Prompt(context), texts) for i, (context, texts) in enumerate(asked)
    ]
    for backend in ours:
        responses = {response.key: response for response in backend.answer(requests)}
        assert len(responses) == len(asked)
        expected = iter(theirs)
        for request in requests:
            response = responses[request.key]
            pairs = [next(expected) for _ in request.continuations]
            assert response.error is None
            assert response.logprobs == pytest.approx([logprob for logprob, _ in pairs], abs=1e-4)
            assert list(response.greedy) == [greedy for _, greedy in pairs]


def test_odd_pairs_are_the_peers_and_where_it_crashes_ours_is_an_error(pair):
    from lm_eval.api.instance import Instance

    peer, ours = pair
    for context, texts in ODD:
        for text in texts:
            request = LoglikelihoodRequest("k", "7", Prompt(context), (text,))
            try:
                ((logprob, greedy),) = peer.loglikelihood(
                    [Instance("loglikelihood", {}, (context, text), 0)], disable_tqdm=True
                )
            except AssertionError:
                for backend in ours:
                    (response,) = backend.answer([request])
                    assert "adds no token to the prompt" in response.error
            else:
                for backend in ours:
                    (response,) = backend.answer([request])
                    assert response.logprobs == pytest.approx((logprob,), abs=1e-4)
                    assert response.greedy == (greedy,)


def test_generated_texts_are_the_peers(pair, shared):
    from lm_eval.api.instance import Instance

    peer, ours = pair
    peer.batch_size_per_gpu = 1  # at more, the peer lets text after a stop leak into the answer
    stop = ("Question:", "</s>", "<|im_end|>")
    rows = [json.loads(line) for line in (shared / "data/gsm8k_test.jsonl").read_text().splitlines()[:10]]
    prompts = [f"Question: {row['question']}\nAnswer:" for row in rows]
    asked = {"until": list(stop), "max_gen_toks": 64, "do_sample": False}
    theirs = peer.generate_until(
        [Instance("generate_until", {}, (prompt, dict(asked)), 0) for prompt in prompts], disable_tqdm=True
    )
    requests = [GenerateRequest(str(i), str(i), Prompt(p), max_tokens=64, stop=stop) for i, p in enumerate(prompts)]
    for backend in ours:
        texts = {response.key: response.text for response in backend.answer(requests)}
        assert [texts[request.key] for request in requests] == theirs
