"""Long texts in windows: the peer's windows, and one number for a model that sees all of the text at once."""

from __future__ import annotations

import math

import pytest
import torch

from harness.engine.score import choose
from harness.engine.score.rolling_windows import rolling_windows
from tests.support.architectures import load


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 19, 20, 21, 57])
def test_windows_are_the_peers(length):
    utils = pytest.importorskip("lm_eval.utils")
    ids = list(range(100, 100 + length))
    peer = [
        utils.make_disjoint_window(pair)
        for pair in utils.get_rolling_token_windows(ids, prefix_token=7, max_seq_len=10, context_len=1)
    ]
    windows = rolling_windows(ids, max_length=10, prefix_token=7)
    assert [(list(one.ids[: -one.n_scored]), list(one.ids[-one.n_scored :])) for one in windows] == peer


def test_every_token_is_judged_once_and_no_window_is_too_long():
    windows = rolling_windows(range(1000), max_length=64, prefix_token=7)
    assert [token for one in windows for token in one.ids[-one.n_scored :]] == list(range(1000))
    assert max(len(one.ids) for one in windows) == 65


def test_windows_through_the_engine_give_what_the_model_gives_for_the_whole_text():
    loaded = load("llama")
    ids = [5 + (11 * place) % 150 for place in range(100)]
    windows = rolling_windows(ids, max_length=100, prefix_token=1)
    scored = [one.logprob for _, one in choose.scorer_for(loaded)(loaded, windows, batch_tokens=32)]
    with torch.inference_mode():
        logprobs = loaded.model(torch.tensor([[1, *ids[:-1]]])).logits[0].log_softmax(dim=-1)
    whole = float(logprobs.gather(1, torch.tensor(ids)[:, None]).sum())
    assert math.fsum(scored) == pytest.approx(whole, abs=1e-3)
