"""The decoder of one row gives what the others give, and what the model gives alone."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.engine.generate.batching import Generator
from harness.engine.generate.row import RowInput
from harness.engine.generate.single_row import LoneDecoder
from harness.engine.loaded import LoadedModel
from harness.values import Sampling
from tests.support.architectures import load


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, num_key_value_heads=2, **sizes)).eval()
    return LoadedModel(model, Words(), torch.device("cpu"), 64, None, (), None)


class Words:
    """A tokenizer that can only be read: token n is the word n."""

    def decode(self, ids, **options):
        return "".join(f"{i} " for i in ids)


@pytest.mark.parametrize("packed", [True, False])
def test_logits_after_each_token_are_the_models_own(loaded, packed):
    ids = [3, 1, 4, 1, 5]
    decoder = LoneDecoder(loaded, packed=packed)
    with torch.inference_mode(), decoder.running():
        after = [decoder.prefill([ids[:3]], [None]), *(decoder.step([token]) for token in ids[3:])]
    whole = loaded.model(torch.tensor([ids])).logits[0, 2:]
    torch.testing.assert_close(torch.cat(after), whole, atol=1e-5, rtol=1e-4)


def test_a_bound_on_the_scores_holds_for_a_row_by_itself():
    loaded = load("gemma2")
    for layer in loaded.model.model.layers:
        layer.self_attn.q_proj.weight.data *= 30  # scores far beyond the bound
    ids = [3 + 5 * k % 29 for k in range(30)]
    decoder = LoneDecoder(loaded, packed=True)
    with torch.inference_mode(), decoder.running():
        after = [decoder.prefill([ids[:3]], [None]), *(decoder.step([token]) for token in ids[3:])]
    whole = loaded.model(torch.tensor([ids])).logits[0, 2:]
    torch.testing.assert_close(torch.cat(after), whole, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.8, seed=3), Sampling(repetition_penalty=1.3)])
@pytest.mark.parametrize("packed", [True, False])
def test_a_prompt_by_itself_is_answered_as_beside_others(loaded, sampling, packed):
    prompt = RowInput(ids=(3, 1, 4), max_tokens=20, sampling=sampling, seed=7)
    generator = Generator(loaded, "packed")
    ((_, beside),) = [one for one in generator.run([prompt, RowInput(ids=(9, 9), max_tokens=9)]) if one[0] == 0]
    generator.lone = partial(LoneDecoder, packed=packed)
    ((_, alone),) = generator.run([prompt])
    assert alone.ids == beside.ids and len(alone.ids) == 20
    assert (alone.batch_size, alone.finish_reason) == (1, "length")


def test_time_that_is_up_ends_a_row_that_runs_by_itself(loaded):
    generator = Generator(loaded)
    ((_, made),) = generator.run([RowInput(ids=(3, 1, 4), max_tokens=60)], wall_s=0.0)
    assert made.finish_reason == "time"
