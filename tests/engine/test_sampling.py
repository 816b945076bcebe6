"""The next token has the distribution of transformers' logits processors, and each row its own draws."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from scipy.stats import chisquare
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from harness.engine.generate.sampling import (
    check_sampling,
    next_tokens,
    penalise_repetition,
    row_seed,
    uniform,
    warp,
)
from harness.errors import TaskError
from harness.values import Sampling

SETTINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.6),
    Sampling(temperature=1.7, top_k=5),
    Sampling(temperature=1.0, top_p=0.8),
    Sampling(temperature=1.0, top_p=0.01),
    Sampling(temperature=1.3, min_p=0.1),
    Sampling(temperature=0.8, top_k=7, top_p=0.9, min_p=0.02),
    Sampling(temperature=1.0, repetition_penalty=1.4),
    Sampling(temperature=0.9, top_k=6, top_p=0.95, repetition_penalty=0.8),
]


@dataclass
class Row:
    sampling: Sampling
    seed: int = 0
    history: list[int] = field(default_factory=list)
    step: int = 0


def transformers_logits(logits: torch.Tensor, history: list[int], sampling: Sampling) -> torch.Tensor:
    """Returns what `generate` would draw from, by its own choice and order of processors."""
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=logits.shape[-1], n_positions=8))
    config = GenerationConfig(
        do_sample=True,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p or None,
        repetition_penalty=sampling.repetition_penalty,
    )
    processors = model._get_logits_processor(generation_config=config, input_ids_seq_length=len(history))
    return processors(torch.tensor([history] * len(logits)), logits.clone())


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_the_distribution_is_that_of_generate(sampling: Sampling):
    logits = torch.randn(40, 23, generator=torch.Generator().manual_seed(1)) * 3
    history = [3, 7, 7, 1]
    expected = transformers_logits(logits, history, sampling).softmax(-1)
    ours = torch.stack([penalise_repetition(row, history, sampling.repetition_penalty) for row in logits])
    assert torch.allclose(warp(ours, sampling).softmax(-1), expected, atol=1e-6)
    assert ((warp(ours, sampling) == -torch.inf) == (expected == 0)).all()


@pytest.mark.parametrize("spread", [0.1, 6.0], ids=["flat", "peaked"])
def test_top_p_of_a_large_vocabulary_keeps_the_same_tokens_however_many_they_are(spread: float):
    logits = torch.randn(4, 5_000, generator=torch.Generator().manual_seed(1)) * spread
    sampling = Sampling(temperature=1.0, top_p=0.9)
    kept, expected = warp(logits, sampling).isfinite(), transformers_logits(logits, [0], sampling).isfinite()
    assert (kept.sum(-1) < 1_000).all() == (spread > 1)
    assert (kept != expected).sum(-1).max() <= 1  # the last one may hang on the order of a sum


@pytest.mark.parametrize("sampling", SETTINGS[:4] + SETTINGS[6:], ids=str)
def test_draws_follow_the_distribution(sampling: Sampling):
    """5,000 draws each; with p < 1e-4 as failure and seven settings, a false alarm once in 1,400 seeds."""
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(2)) * 2
    history, n = [2, 5], 5_000
    probs = transformers_logits(logits, history, sampling).softmax(-1)[0].double()
    rows = [Row(sampling, seed=row_seed(0, str(i), 0), history=history) for i in range(n)]
    drawn = torch.tensor(next_tokens(logits.expand(n, -1), rows))
    counts = drawn.bincount(minlength=12).double()
    assert counts[probs == 0].sum() == 0
    possible = probs > 0
    assert chisquare(counts[possible], probs[possible] / probs.sum() * n).pvalue > 1e-4


def test_one_rows_draws_over_many_steps_follow_the_distribution():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    drawn = [next_tokens(logits, [Row(Sampling(temperature=1.0), seed=9, step=step)])[0] for step in range(4_000)]
    expected = logits.softmax(-1)[0].double() * len(drawn)
    assert chisquare(torch.tensor(drawn).bincount(minlength=4), expected / expected.sum() * len(drawn)).pvalue > 1e-4


def test_a_draw_does_not_depend_on_the_rows_beside_it():
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(3))
    rows = [Row(SETTINGS[i % len(SETTINGS)], seed=100 + i, history=[i, 2], step=i) for i in range(6)]
    rows[2] = Row(Sampling(), seed=1, history=[1])
    together = next_tokens(logits, rows)
    alone = [next_tokens(logits[i : i + 1], [row])[0] for i, row in enumerate(rows)]
    backwards = next_tokens(logits.flip(0), rows[::-1])[::-1]
    assert together == alone == backwards


def test_greedy_takes_the_most_likely_token_whatever_the_seed():
    logits = torch.randn(5, 30)
    assert next_tokens(logits, [Row(Sampling(), seed=s) for s in range(5)]) == logits.argmax(-1).tolist()


def test_a_repetition_penalty_also_holds_for_greedy_rows():
    logits = torch.tensor([[1.0, 1.9], [1.0, 1.9]])
    rows = [Row(Sampling(repetition_penalty=2.0), history=[1]), Row(Sampling(), history=[1])]
    assert next_tokens(logits, rows) == [0, 1]
    assert logits.tolist() == [[1.0, pytest.approx(1.9)]] * 2  # the logits given are left as they were


def test_samples_epochs_and_seeds_draw_apart_and_repeatably():
    seeds = {row_seed(seed, sample, epoch) for seed in (0, 1) for sample in ("a", "b") for epoch in (0, 1)}
    assert len(seeds) == 8
    assert row_seed(0, "a", 1) == row_seed(0, "a", 1)
    assert 0.0 <= min(uniform(s, t) for s in seeds for t in range(50)) < 0.05
    assert 0.95 < max(uniform(s, t) for s in seeds for t in range(50)) < 1.0


@pytest.mark.parametrize(
    ("field_name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
    ],
)
def test_a_setting_out_of_range_is_named(field_name: str, value: float):
    with pytest.raises(TaskError, match=f"{field_name} is {value}"):
        check_sampling(Sampling(**{field_name: value}), where="tasks/a.yaml: sampling")
    check_sampling(Sampling(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1, repetition_penalty=1.1))
