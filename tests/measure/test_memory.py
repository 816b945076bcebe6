from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pytest import approx

from harness.engine.loaded import cache_argument
from harness.measure.device_memory import reset_peaks, used_memory
from harness.models.find import resolve_model
from harness.models.footprint import count_parameters, footprint

LLAMA_70B = {  # config.json of Llama-3.3-70B-Instruct
    "model_type": "llama",
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131072,
}
GEMMA = {  # every sixth layer looks back over everything
    "model_type": "gemma3_text",
    "hidden_size": 2560,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 32768,
    "sliding_window": 1024,
    "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
}


def test_a_large_llama_takes_what_is_known_of_it():
    found = footprint(LLAMA_70B, parameters=70_553_706_496)
    assert found.weight_bytes == approx(141.1e9, rel=1e-3)
    assert found.cache_bytes_per_token == 2 * 80 * 8 * 128 * 2 == 327_680
    assert footprint(LLAMA_70B, parameters=70_553_706_496, dtype="4bit").weight_bytes == approx(35.3e9, rel=1e-3)


def test_what_fits_leaves_no_room_for_one_more():
    found = footprint(LLAMA_70B, parameters=70_553_706_496, dtype="float8", cache_dtype="float8")
    free = 141e9 * 0.9 - 70.55e9
    assert found.concurrency(141e9, 8192) == int(free // (8192 * 163_840)) == 41
    longest = found.largest_context(141e9, concurrency=16)
    assert found.concurrency(141e9, longest) == 16 and found.concurrency(141e9, longest + 1) == 15
    assert found.largest_context(141e9) == 131_072  # the model's own limit
    assert found.concurrency(60e9, 10) == 0 and found.largest_context(60e9) == 0


def test_layers_with_a_window_keep_no_more_than_it():
    found = footprint(GEMMA, parameters=10, dtype="bfloat16")
    layer = 2 * 4 * 256 * 2
    assert found.cache_bytes_per_token == 6 * layer
    assert found.cache_bytes(1000) == 6 * layer * 1000
    assert found.cache_bytes(10_000) == layer * (10_000 + 5 * 1024)


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 2 * 12 * 768),  # GPT-2
        ({"num_hidden_layers": 32, "num_attention_heads": 71, "hidden_size": 4544, "multi_query": True}, 2 * 32 * 64),
        ({"num_hidden_layers": 61, "num_attention_heads": 128, "hidden_size": 7168, "kv_lora_rank": 512,
          "qk_rope_head_dim": 64}, 61 * 576),  # DeepSeek-V3
        ({"text_config": LLAMA_70B, "vision_config": {}}, 2 * 80 * 8 * 128),
        ({**LLAMA_70B, "sliding_window": 4096, "use_sliding_window": False}, 2 * 80 * 8 * 128),  # Qwen2
    ],
)  # fmt: skip
def test_the_cache_of_other_architectures(config, numbers):
    assert footprint(config, parameters=1, dtype="bfloat16").cache_bytes_per_token == 2 * numbers


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "mamba", "num_hidden_layers": 64, "hidden_size": 2560, "state_size": 16},
        {"model_type": "qwen3_next", "num_hidden_layers": 4, "num_attention_heads": 8, "hidden_size": 64,
         "layer_types": ["linear_attention"] * 3 + ["full_attention"]},
        {**LLAMA_70B, "num_hidden_layers": "80"},
        {**LLAMA_70B, "num_attention_heads": [64] * 80, "text_config": ["llama"]},
        {},
    ],
)  # fmt: skip
def test_a_state_that_is_no_known_cache_is_unknown_and_not_zero(config):
    found = footprint(config, parameters=1)
    assert found.cache_bytes_per_token is None and "no key-value cache known here" in found.reason
    assert found.cache_bytes(10) is None and found.concurrency(1e9, 10) is None and found.largest_context(1e9) is None


def agrees_with_the_loaded_model(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    parameters = count_parameters(folder / "config.json")
    found = footprint(json.loads((folder / "config.json").read_text()), parameters=parameters, dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    held = {p.data_ptr(): p.nbytes for p in model.parameters()}
    assert found.weight_bytes == approx(sum(held.values()), rel=0.10)
    with torch.no_grad():
        cache = model(torch.ones(1, 37, dtype=torch.long), use_cache=True)[cache_argument(type(model))]
    numbers = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert found.cache_bytes(37) == approx(numbers, rel=0.10)


@pytest.mark.slow
def test_the_figures_are_those_of_the_loaded_demo_and_its_real_cache():
    agrees_with_the_loaded_model(resolve_model("demo-2m"))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["stories260K", "TinyStories-656K", "banking77-tiny"])
def test_the_figures_are_those_of_the_loaded_model_and_its_real_cache(shared, name):
    agrees_with_the_loaded_model(shared / "models" / name)


MEASURE = """
import ctypes, json, sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, LlamaConfig
from harness.engine.loaded import cache_argument
from harness.measure.device_memory import used_memory

torch.set_num_threads(1)
trim = ctypes.CDLL("libc.so.6").malloc_trim  # what was freed goes back to the system, as it would if it were needed

def made(hidden, layers):
    sizes = {"hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": layers}
    config = LlamaConfig(vocab_size=2000, num_attention_heads=8, num_key_value_heads=4, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(Path(sys.argv[1]) / str(layers))

def held():
    trim(0)
    return used_memory()["rss_bytes"]

def run(layers, rows, tokens):
    before = held()
    model = AutoModelForCausalLM.from_pretrained(Path(sys.argv[1]) / str(layers), dtype=torch.float32)
    for parameter in model.parameters():
        parameter.sum()  # reads the pages of the file
    loaded, cache, name = held(), None, cache_argument(type(model))
    with torch.no_grad():
        for _ in range(tokens // 64):
            ids = torch.ones(rows, 64, dtype=torch.long)
            cache = model(ids, use_cache=True, logits_to_keep=1, **{name: cache})[name]
    return {"weights": loaded - before, "cache": held() - loaded}

made(64, 2), made(512, 8)
run(2, 8, 128)  # libraries are loaded now
print(json.dumps(run(8, 8, 512)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_grows_by_the_weights_and_the_cache_that_were_foretold(tmp_path):
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    config = tmp_path / "8" / "config.json"
    found = footprint(json.loads(config.read_text()), parameters=count_parameters(config), dtype="float32")
    assert found.weight_bytes == approx(measured["weights"], rel=0.10)
    assert 8 * found.cache_bytes(512) == approx(measured["cache"], rel=0.10)


def test_this_process_holds_some_memory_and_no_gpu_was_asked():
    used = used_memory()
    assert used["peak_rss_bytes"] >= 10_000_000 and used["peak_allocated_bytes"] is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_peak_can_begin_anew():
    block = bytearray(b"x" * 80_000_000)
    high = used_memory()["peak_rss_bytes"]
    del block
    reset_peaks()
    assert used_memory()["peak_rss_bytes"] < high - 40_000_000
