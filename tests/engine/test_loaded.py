"""How a model takes its keys and values is asked of the model: the name changed with transformers 5.24."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, LlamaModel

from harness.engine.generate.batching import Generator
from harness.engine.generate.row import RowInput
from harness.engine.generate.single_row import LoneDecoder
from harness.engine.loaded import LoadedModel, cache_argument
from harness.engine.score.choose import obstacle
from harness.engine.score.prefix_readers import PackedReader, PaddedReader
from tests.support.architectures import load


class Before:
    def forward(self, input_ids: Any, past_key_values: Any = None, use_cache: bool = True) -> None: ...


class Since:
    def forward(self, input_ids: Any, cache: Any = None, use_cache: bool = True) -> None: ...


def test_the_name_is_the_one_that_the_model_has():
    assert cache_argument(Before) == "past_key_values" and cache_argument(Since) == "cache"


OLD = cache_argument(LlamaModel)  # what this release of the library says


class RenamedModel(LlamaModel):
    def forward(self, input_ids, attention_mask=None, position_ids=None, cache=None, use_cache=None, **others):
        given = {OLD: others.pop(OLD, cache)}
        given |= {"attention_mask": attention_mask, "position_ids": position_ids, "use_cache": use_cache}
        return super().forward(input_ids, **given, **others)


class RenamedForCausalLM(LlamaForCausalLM):
    def forward(self, input_ids, attention_mask=None, position_ids=None, cache=None, logits_to_keep=0, **others):
        given = {"attention_mask": attention_mask, "position_ids": position_ids, "logits_to_keep": logits_to_keep}
        out = super().forward(input_ids, **{OLD: cache}, **given, **others)
        if OLD in out:
            out["cache"] = out[OLD]
        return out


class Words:
    """A tokenizer that can only be read: token n is the word n."""

    def decode(self, ids, **options):
        return "".join(f"{i} " for i in ids)


def llama() -> LoadedModel:
    return replace(load("llama"), tokenizer=Words())


@pytest.fixture
def renamed() -> LoadedModel:
    loaded = llama()
    loaded.model.__class__ = RenamedForCausalLM
    loaded.model.model.__class__ = RenamedModel
    return loaded


@pytest.mark.parametrize("reader", [PackedReader, PaddedReader])
def test_prefixes_are_shared_whatever_the_name(renamed: LoadedModel, reader: Any):
    assert obstacle(renamed, reader) is None


@pytest.mark.parametrize("how", ["packed", "padded"])
def test_rows_are_decoded_together_whatever_the_name(renamed: LoadedModel, how: str):
    rows = [RowInput(ids=(3, 1, 4), max_tokens=9), RowInput(ids=(3, 1, 5, 9), max_tokens=9)]
    ours, librarys = Generator(renamed, how), Generator(llama(), how)
    assert [row.ids for _, row in sorted(ours.run(rows))] == [row.ids for _, row in sorted(librarys.run(rows))]


@pytest.mark.parametrize("packed", [True, False])
def test_a_row_by_itself_is_decoded_whatever_the_name(renamed: LoadedModel, packed: bool):
    ids, decoder = [3, 1, 4, 1, 5], LoneDecoder(renamed, packed=packed)
    with torch.inference_mode(), decoder.running():
        after = [decoder.prefill([ids[:3]], [None]), *(decoder.step([token]) for token in ids[3:])]
    torch.testing.assert_close(torch.cat(after), renamed.model(torch.tensor([ids])).logits[0, 2:], atol=1e-5, rtol=1e-4)
