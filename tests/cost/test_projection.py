"""What is projected where nobody measured, against NVIDIA's public tables, and what a model's files tell for it."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pytest import approx

from harness.config.accelerators import CHIPS
from harness.config.machine import MachineConfig
from harness.cost.projection import BEST, WORST, NoProjection, Projected, Served, project, projection, restored, served
from harness.errors import ConfigError
from harness.models.footprint import Footprint, Layers
from harness.models.info import inspect_model
from harness.reports.projection_text import lines
from tests.support.public_tables import LLAMA_8B_H100, LLAMA_8B_H200, LLAMA_70B_2_H100, LLAMA_70B_H200, table


def fp8(parameters: float, layers: int, hidden: int, heads: int = 8, active: float | None = None) -> Served:
    """A model of heads of 128 in 8 bit, its cache too, as NVIDIA measured them."""
    memory = Footprint(parameters, 2 * layers * heads * 128, Layers(layers, 0, None), 131_072, cache_heads=heads)
    return Served(memory, 8, int(parameters), int(active or parameters), 2 * layers * hidden * 2)


LLAMA_8B, LLAMA_70B, LLAMA_405B = fp8(8.03e9, 32, 4096), fp8(70.6e9, 80, 8192), fp8(405e9, 126, 16384)
QWEN_235B = fp8(235e9, 94, 4096, heads=4, active=22e9)


def machine(**changes: Any) -> MachineConfig:
    box = {"name": "box", "source": "a quote", "date": "2026-11-01", "chip": "h200", "rented": {"per_hour": 2.6}}
    return MachineConfig.model_validate(box | changes)


@pytest.mark.parametrize(
    ("speeds", "model", "chip", "chips"),
    [
        (LLAMA_70B_H200, LLAMA_70B, "h200", 1),
        (LLAMA_70B_2_H100, LLAMA_70B, "h100", 2),
        (LLAMA_8B_H200, LLAMA_8B, "h200", 1),
        (LLAMA_8B_H100, LLAMA_8B, "h100", 1),
    ],
)
def test_every_shape_of_the_public_tables_lies_within_the_range_of_the_shares(speeds, model, chip, chips):
    for shape in table(speeds, chips):
        read, written = shape.input_tokens, shape.output_tokens
        fast, slow = (
            project(CHIPS[chip], model, context=read + written / 2, chips=chips, shares=shares).gpu_s(read, written)
            for shares in (BEST, WORST)
        )
        assert 0.93 * fast <= shape.gpu_s <= 1.04 * slow, (read, written)  # single shapes lie up to 7 % outside
        assert slow < 1.35 * fast


def test_a_model_divided_among_eight_chips_takes_what_was_published():
    found = projection(LLAMA_405B, machine(rented={"per_hour": 2.6, "gpus": 8}), 1000, 1000)
    assert found.chips_a_copy == 8
    assert found.output_tokens_per_s == approx(3330, rel=0.05)  # Llama-3.1-405B on 8 H200, 1000 in, 1000 out


def test_of_a_mixture_of_experts_it_is_a_bound_and_says_so():
    found = projection(QWEN_235B, machine(rented={"per_hour": 2.6, "gpus": 8}), 1000, 1000)
    assert found.output_tokens_per_s * found.gpu_s / found.gpu_s_high > 23_789  # as published for 8 H200
    assert found.tpot_s_at_least == approx(
        22e9 / (4 * 4.8e12)
    )  # two copies on four chips; a byte a parameter, those in use
    said = "\n".join(lines(found))
    assert "at best     a token uses 9.4 % of the parameters, as if experts were equally busy" in said
    dense = "\n".join(lines(projection(LLAMA_70B, machine(), 1000, 300)))
    assert "at best" not in dense


def test_the_figures_of_a_request_follow_from_one_another():
    found = projection(LLAMA_70B, machine(utilisation=0.3), 1000, 300)
    assert isinstance(found, Projected)
    assert found.gpu_s_low < found.gpu_s < found.gpu_s_high
    assert found.requests_per_s == approx(1 / found.gpu_s)
    assert found.input_tokens_per_s == approx(1000 / found.gpu_s)
    assert found.output_tokens_per_s == approx(300 / found.gpu_s)
    assert found.tpot_s_at_least == approx(70.6e9 / 4.8e12)
    assert found.requests_at_a_time == int((141e9 * 0.9 - 70.6e9) // (1300 * 163_840))
    full, stated = found.by_utilisation[1.0], found.by_utilisation[0.3]
    assert full.usd_per_request == approx(found.gpu_s * 2.6 / 3600)
    assert 1000 * full.usd_per_1m_input + 300 * full.usd_per_1m_output == approx(1e6 * full.usd_per_request)
    assert stated.usd_per_request == approx(full.usd_per_request / 0.3)


def test_a_model_that_fits_one_chip_has_a_copy_on_each_and_the_machine_is_paid_once():
    one = projection(LLAMA_8B, machine(), 1000, 300)
    eight = projection(LLAMA_8B, machine(rented={"per_hour": 2.6, "gpus": 8}), 1000, 300)
    assert (eight.chips, eight.chips_a_copy) == (8, 1)
    assert eight.gpu_s == one.gpu_s and eight.by_utilisation == one.by_utilisation
    assert eight.output_tokens_per_s == approx(8 * one.output_tokens_per_s)
    assert eight.requests_at_a_time == 8 * one.requests_at_a_time
    assert "8 copies, each on 1 × h200" in "\n".join(lines(eight))


def test_chips_that_share_a_copy_read_its_weights_together_and_pay_for_their_links():
    pair = machine(chip="h100", rented={"per_hour": 2, "gpus": 2})
    found = projection(LLAMA_70B, pair, 1000, 300)
    assert found.chips_a_copy == 2 and found.tpot_s_at_least == approx(70.6e9 / (2 * 3.35e12))
    linked = project(CHIPS["h100"], LLAMA_70B, context=1150, chips=2)
    ideal = project(replace(CHIPS["h100"], link_bytes_per_s=math.inf), LLAMA_70B, context=1150, chips=2)
    assert linked.a - ideal.a == approx(2 * 2 * 80 * 8192 * 2 / 450e9)
    assert linked.c == ideal.c


def test_a_cache_that_cannot_be_divided_is_kept_by_each_chip():
    latent = replace(LLAMA_70B, memory=replace(LLAMA_70B.memory, cache_heads=1))
    assert latent.cache_bytes(100, chips=8) == 8 * LLAMA_70B.cache_bytes(100, chips=8)
    assert LLAMA_70B.cache_bytes(100, chips=8) == LLAMA_70B.cache_bytes(100, chips=1)
    assert LLAMA_70B.cache_bytes(100, chips=16) == 2 * LLAMA_70B.cache_bytes(100, chips=1)


def test_a_layer_with_a_window_is_read_no_further_back_than_it():
    windowed = replace(LLAMA_8B, memory=replace(LLAMA_8B.memory, layers=Layers(0, 32, 500)))
    short, long = (project(CHIPS["h200"], windowed, context=context) for context in (400, 4000))
    assert short.c == project(CHIPS["h200"], LLAMA_8B, context=400).c
    assert long.c == approx(short.c * 500 / 4000)


@pytest.mark.parametrize(
    ("bits", "chip", "speed"),
    [(8, "h100", 1979e12), (16, "h100", 989e12), (32, "h100", 67e12), (8, "a100", 312e12)],
)
def test_it_computes_in_the_width_of_its_weights_where_the_chip_can(bits: int, chip: str, speed: float):
    found = project(CHIPS[chip], replace(LLAMA_8B, bits=bits), context=100)
    assert found.a == approx(2 * 8.03e9 / (0.5 * speed)) and found.label == "projected"


OWN_SHEET = {"tflops": 100, "gb_per_s": 1000, "gb": 80}


@pytest.mark.parametrize(
    ("model", "changes", "lengths", "reason"),
    [
        (LLAMA_405B, {}, (1000, 300), "weights of 405 GB do not fit into 141 GB; project for a larger chip, or for"),
        (LLAMA_405B, {"rented": {"per_hour": 1, "gpus": 2}}, (1000, 300), "do not fit into 282 GB"),
        (LLAMA_405B, {"rented": {"per_hour": 1, "gpus": 3}}, (1000, 300), "do not fit into 141 GB"),
        (LLAMA_70B, {"chip": "h100"}, (100_000, 300), "no request of 100,300 tokens fits beside the weights"),
        (LLAMA_70B, {}, (131_000, 300), "131,300 tokens are more than the model's context of 131,072"),
        (LLAMA_70B, {"chip": None}, (1000, 300), "machine 'box' names no chip; add `chip:` to its file"),
        (LLAMA_405B, {"chip": OWN_SHEET, "rented": {"per_hour": 1, "gpus": 8}}, (1000, 300), "add `link_gb_per_s`"),
        (replace(LLAMA_8B, bits=32), {"chip": OWN_SHEET}, (1000, 300), "in 32 bit are unknown; add `tflops_32bit`"),
        (replace(LLAMA_8B, reason="it is a riddle"), {}, (1000, 300), "it is a riddle"),
    ],
)
def test_where_there_is_no_projection_the_reason_is_told_and_no_figure(model, changes, lengths, reason):
    found = projection(model, machine(**changes), *lengths)
    assert isinstance(found, NoProjection) and reason in found.reason
    assert set(found.as_json()) == {"label", "reason", "machine", "input_tokens", "output_tokens"}
    assert len(list(lines(found))) == 2 and reason in "\n".join(lines(found))


def test_weights_that_do_not_fit_have_no_projection():
    with pytest.raises(ConfigError, match="405 GB do not fit into 80 GB"):
        project(CHIPS["h100"], LLAMA_405B, context=1000)


def test_a_sheet_of_ones_own_counts_as_a_listed_one_does():
    sheet = {"tflops": 989, "tflops_8bit": 1979, "tflops_32bit": 67, "gb_per_s": 4800, "gb": 141, "link_gb_per_s": 450}
    assert machine(chip=sheet).sheet == CHIPS["h200"]
    assert "1 copy on 1 × chip" in "\n".join(lines(projection(LLAMA_8B, machine(chip=sheet), 10, 10)))


def test_an_owned_machine_says_how_many_chips_its_price_is_for():
    owned = {"price": 8760, "years": 1, "watts": 1000, "power_price": 1.0, "gpus": 2}
    found = projection(LLAMA_8B, machine(rented=None, owned=owned), 1000, 300)
    assert found.by_utilisation[1.0].usd_per_request == approx(found.gpu_s * (1.0 + 1.0) / 2 / 3600)
    unknown = projection(LLAMA_8B, machine(rented=None, owned=owned | {"watts": "measured"}), 1000, 300)
    assert unknown.by_utilisation == {} and unknown.gpu_s == found.gpu_s
    assert "unknown     the cost: machine 'box' says `watts: measured`" in "\n".join(lines(unknown))


def test_answers_that_are_not_written_have_no_price_and_no_time():
    found = projection(LLAMA_8B, machine(), 1000, 0)
    assert found.by_utilisation[1.0].usd_per_1m_output is None and found.tpot_s_at_least is None
    said = "\n".join(lines(found))
    assert "TPOT" not in said and "/1M out" not in said and "/1M in" in said


def test_what_is_projected_and_what_is_assumed_stand_under_their_names_within_the_terminal():
    said = list(lines(projection(QWEN_235B, machine(rented={"per_hour": 2.6, "gpus": 8}), 30_000, 300)))
    assert said[0].startswith("  projected     for box, not measured: requests of 30,000 tokens in, 300 out")
    assert "    assumed     50 % (45 to 60 %) of the 8-bit peak, 80 % (73 to 90 %) of bandwidth, 90 % of memory" in said
    assert "    price       $20.8/h (quoted, 2026-11-01)" in said
    assert "    at best     attention over prompts beyond 20,000 tokens is not in it" in said
    assert all(len(line) <= 100 for line in said)


# --- what files tell -------------------------------------------------------------------------------------------------

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 512,
}
BYTES = {"F32": 4, "BF16": 2, "F8_E4M3": 1, "I32": 4}


def folder(path: Path, tensors: dict[str, tuple[str, list[int]]], **config: Any) -> Path:
    """A model folder with a configuration and weights of nothing: the shapes of its tensors are what is read."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(LLAMA | config))
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        first, end = end, end + math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [first, end]}
    text = json.dumps(header).encode()
    with (path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


def told(path: Path, **settings: Any) -> Served:
    return served(path, inspect_model(path), **settings)


def test_a_plain_model_tells_all_of_it_and_a_plan_keeps_it(tmp_path: Path):
    found = told(folder(tmp_path, {"a": ("BF16", [100, 10])}))
    assert (found.bits, found.parameters, found.active_parameters) == (16, 1000, 1000)
    assert found.memory.cache_bytes_per_token == 2 * 2 * 2 * 16 * 2 and found.memory.cache_heads == 2
    assert found.memory.weight_bytes == (tmp_path / "model.safetensors").stat().st_size
    assert found.summed_bytes == 2 * 2 * 64 * 2 and found.reason is None
    assert restored(json.loads(json.dumps(asdict(found)))) == found


def test_a_run_in_another_type_is_projected_in_that_type(tmp_path: Path):
    path = folder(tmp_path, {"a": ("BF16", [100, 10])})
    wide = told(path, dtype="fp32")
    assert (wide.bits, wide.memory.weight_bytes) == (32, 4000)
    assert wide.memory.cache_bytes_per_token == 2 * told(path).memory.cache_bytes_per_token
    assert "quantized while loading" in told(path, quantization="4bit").reason


def test_weights_in_8_bit_are_taken_as_stored_with_a_cache_in_16(tmp_path: Path):
    tensors = {"a": ("F8_E4M3", [100, 10]), "a_scale": ("F32", [10])}
    found = told(folder(tmp_path, tensors, quantization_config={"quant_method": "fp8"}), dtype="bf16")
    assert (found.bits, found.active_parameters) == (8, 1010)
    assert found.memory.weight_bytes < 1500 and found.memory.cache_bytes_per_token == 2 * 2 * 2 * 16 * 2


def test_packed_weights_keep_their_bytes_and_are_counted_on_the_architecture(tmp_path: Path):
    packed = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    found = told(folder(tmp_path, {"a.qweight": ("I32", [100, 10])}, **packed))
    assert found.memory.weight_bytes == approx(4000, abs=300) and found.bits == 16
    # embeddings in and out, attention, feed-forward, norms
    assert found.parameters == 2 * 100 * 64 + 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128 + 2 * 64) + 64
    unknown = told(folder(tmp_path / "b", {"a.qweight": ("I32", [100, 10])}, model_type="nobody's", **packed))
    assert unknown.active_parameters is None and "how many of its parameters a token uses is unknown" in unknown.reason


EXPERTS = {"embed": ("BF16", [100, 10]), **{f"l.0.mlp.experts.{i}.w": ("BF16", [10, 10]) for i in range(8)}}


@pytest.mark.parametrize(
    ("tensors", "config", "active"),
    [
        (EXPERTS, {"num_local_experts": 8, "num_experts_per_tok": 2}, 1000 + 200),
        (EXPERTS, {"text_config": {"n_routed_experts": 8, "moe_topk": 4}}, 1000 + 400),
        ({**EXPERTS, "l.0.mlp.shared_experts.w": ("BF16", [5])}, {"num_experts": 8, "num_experts_per_tok": 1}, 1105),
        (EXPERTS, {"num_local_experts": 8}, None),  # how many are chosen?
        (EXPERTS, {"num_experts_per_tok": 2}, None),  # of how many?
        (EXPERTS, {}, None),
        ({"l.0.moe.input": ("BF16", [8, 10])}, {"num_local_experts": 8, "num_experts_per_tok": 2}, None),  # which?
        ({"a": ("BF16", [10])}, {"num_experts": None, "n_routed_experts": 0}, 10),  # none
    ],
)
def test_of_experts_those_chosen_are_counted_or_it_is_unknown(tmp_path: Path, tensors, config, active):
    found = told(folder(tmp_path, tensors, **config))
    assert found.active_parameters == active
    assert (found.reason is None) == (active is not None)


def test_a_state_that_is_no_known_cache_is_not_projected(tmp_path: Path):
    found = told(folder(tmp_path, {"a": ("BF16", [10])}, model_type="mamba", state_size=16))
    assert "no key-value cache known here" in found.reason
    assert projection(found, machine(), 10, 10).reason.startswith("the state of mamba")
