"""Generates with the engine and with its peers on the same weights, machine and prompts, and prints the ratios.

    python -m tests.benchmarks.generation                                     # everything: an hour or two on two cores
    python -m tests.benchmarks.generation --only gsm8k --rows 16 --layers 4   # a small part of it

The model has the shape of Qwen2-0.5B with random weights in bf16, and GPT-2's tokenizer. It has no end-of-sequence
token, and every row's limit is the length of its reference answer: all methods write as many tokens. `generate` and
lm-eval run a batch until its longest answer is done, in batches sorted by prompt as lm-eval sorts them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from harness.engine.generate import batching
from harness.engine.generate.batching import Generator
from harness.engine.generate.row import RowInput
from harness.engine.loaded import LoadedModel
from harness.values import Sampling

SHAPE = {
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4_864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": True,
}
WORDS = 50_000  # random prompts are drawn from this many tokens


def build(shared: Path, layers: int) -> LoadedModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen2Config

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(Qwen2Config(**SHAPE, num_hidden_layers=layers), dtype=torch.bfloat16)
    model.generation_config = GenerationConfig()
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers/gpt2")
    tokenizer.pad_token = tokenizer.eos_token
    return LoadedModel(model.eval(), tokenizer, torch.device("cpu"), 32_768, None, (), None)


def random_ids(n: int, seed: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, WORDS, (n,), generator=torch.Generator().manual_seed(seed)).tolist())


def gsm8k_prompts(shared: Path, tokenizer: Any, rows: int, shots: int) -> list[RowInput]:
    """Returns questions after fixed shots; a row's limit is the length of its reference solution."""

    def read(split: str) -> list[dict[str, str]]:
        with (shared / f"data/gsm8k_{split}.jsonl").open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    header = "".join(f"Question: {r['question']}\nAnswer: {r['answer']}\n\n" for r in read("train")[:shots])
    asked = read("test")[:rows]
    ids = tokenizer([f"{header}Question: {r['question']}\nAnswer:" for r in asked])["input_ids"]
    lengths = [len(i) for i in tokenizer([" " + r["answer"] for r in asked])["input_ids"]]
    return [RowInput(ids=tuple(i), max_tokens=n) for i, n in zip(ids, lengths, strict=True)]


# --- methods: each runs all prompts and returns the real tokens it wrote ---------------------------------------------


def ours(loaded: LoadedModel, prompts: Sequence[RowInput], slots: int) -> int:
    return sum(len(r.ids) for _, r in Generator(loaded).run(prompts, slots=slots))


def in_sorted_batches(prompts: Sequence[RowInput], size: int) -> list[list[RowInput]]:
    ordered = sorted(prompts, key=lambda p: (-len(p.ids), p.ids))
    return [ordered[k : k + size] for k in range(0, len(ordered), size)]


@torch.inference_mode()
def by_generate(loaded: LoadedModel, prompts: Sequence[RowInput], slots: int) -> int:
    for batch in in_sorted_batches(prompts, slots):
        width = max(len(p.ids) for p in batch)
        ids = torch.tensor([[0] * (width - len(p.ids)) + list(p.ids) for p in batch])
        mask = torch.tensor([[0] * (width - len(p.ids)) + [1] * len(p.ids) for p in batch])
        longest = max(p.max_tokens for p in batch)
        loaded.model.generate(
            ids, attention_mask=mask, max_new_tokens=longest, do_sample=False, use_cache=True, pad_token_id=0
        )
    return sum(p.max_tokens for p in prompts)


def by_lm_eval(loaded: LoadedModel, prompts: Sequence[RowInput], slots: int) -> int:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.disable(logging.WARNING)
    peer = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=slots, max_length=32_768)
    for batch in in_sorted_batches(prompts, slots):
        longest = max(p.max_tokens for p in batch)
        settings = {"until": ["Question:", "</s>", "<|im_end|>"], "max_gen_toks": longest, "do_sample": False}
        texts = [loaded.tokenizer.decode(p.ids) for p in batch]
        asked = [Instance("generate_until", {}, (text, settings), k) for k, text in enumerate(texts)]
        peer.generate_until(asked, disable_tqdm=True)
    return sum(p.max_tokens for p in prompts)


def by_generate_batch(loaded: LoadedModel, prompts: Sequence[RowInput], slots: int) -> int:
    """transformers' own continuous batching, which takes a limit a row."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    longest = max(p.max_tokens for p in prompts)
    config = GenerationConfig(max_new_tokens=longest, do_sample=False, eos_token_id=-1, pad_token_id=0)
    before, written = loaded.model.config._attn_implementation, 0
    with loaded.model.continuous_batching_context_manager(
        generation_config=config, continuous_batching_config=ContinuousBatchingConfig(), block=True, timeout=30
    ) as manager:
        for prompt in prompts:
            manager.add_request(list(prompt.ids), max_new_tokens=prompt.max_tokens)
        left = len(prompts)
        while left:
            result = manager.get_result(timeout=5)
            if result is None and not manager.is_running():
                raise RuntimeError("the peer's generation thread has ended")
            if result is not None and result.is_finished():
                written, left = written + len(result.generated_tokens), left - 1
    loaded.model.set_attn_implementation(before)
    return written


# --- workloads -------------------------------------------------------------------------------------------------------


def clocked(run: Callable[[], Any]) -> tuple[float, Any]:
    before = time.perf_counter()
    value = run()
    return time.perf_counter() - before, value


def gsm8k(loaded: LoadedModel, options: argparse.Namespace) -> list[dict]:
    prompts = gsm8k_prompts(options.shared, loaded.tokenizer, options.rows, options.shots)
    peers = {"lm-eval": by_lm_eval, "generate": by_generate, "generate_batch": by_generate_batch}
    seconds, expected = {}, sum(p.max_tokens for p in prompts)
    for name, run in {"engine": ours, **{n: r for n, r in peers.items() if n in options.peers}}.items():
        seconds[name], written = clocked(lambda run=run: run(loaded, prompts, options.slots))
        print(f"  {name}: {seconds[name]:.1f} s, {written / seconds[name]:.1f} tokens/s", flush=True)
        assert written == expected, f"{name} wrote {written} tokens, {expected} were asked for"
    what = f"GSM8K, {len(prompts)} questions, {options.shots} fixed shots, {options.slots} rows"
    return [
        {"workload": f"{what}, against {n}", "ratio": s / seconds["engine"], "target": ">= 3"}
        for n, s in seconds.items()
        if n != "engine"
    ]


@torch.inference_mode()
def matrix_seconds(model: Any, rows: int, repeats: int = 5) -> float:
    """Returns the seconds of all matrix products of one step of `rows` rows, and of nothing else."""
    layers = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    inputs = {w.shape[1]: torch.randn(rows, w.shape[1], dtype=w.dtype) for w in layers}

    def once() -> None:
        for weight in layers:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    once()
    return min(clocked(once)[0] for _ in range(repeats))


def decode(loaded: LoadedModel, options: argparse.Namespace) -> list[dict]:
    prompts = [RowInput(ids=random_ids(16, seed=i), max_tokens=40) for i in range(16)]
    best, generator = 0.0, Generator(loaded)
    for _ in range(3):
        bound = 16 / matrix_seconds(loaded.model, 16)
        results = dict(generator.run(prompts, slots=16)).values()
        steps = min(b - a for r in results for a, b in zip(r.token_s[4:], r.token_s[5:]))
        rate = sum(len(r.ids) - 1 for r in results) / sum(r.decode_s for r in results)
        print(f"  {rate:.1f} tokens/s (fastest step {16 / steps:.1f}) of {bound:.1f}", flush=True)
        best = max(best, rate / bound)
    return [{"workload": "decode only, 16 rows, share of the matrix products' rate", "ratio": best, "target": ">= 0.6"}]


def epochs(loaded: LoadedModel, options: argparse.Namespace) -> list[dict]:
    draws = Sampling(temperature=1.0)
    prompt = RowInput(ids=random_ids(options.prompt, seed=1), max_tokens=options.answer, sampling=draws)
    rows, generator = [replace(prompt, seed=e) for e in range(8)], Generator(loaded)
    together, _ = clocked(lambda: list(generator.run(rows)))
    apart, _ = clocked(lambda: [list(generator.run([row])) for row in rows])
    print(f"  together {together:.1f} s, apart {apart:.1f} s")
    what = f"8 answers of {options.answer} tokens to a prompt of {options.prompt}, against eight runs"
    return [{"workload": what, "ratio": apart / together, "target": ">= 5"}]


@torch.inference_mode()
def bare_loop(model: Any, ids: Sequence[int], steps: int) -> float:
    """Returns seconds a token of the shortest loop there is around a model with its cache."""
    out = model(input_ids=torch.tensor([ids]), use_cache=True, logits_to_keep=1)
    token, stamps = out.logits[:, -1:].argmax(-1), []
    for _ in range(steps):
        out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
        int(token)
        stamps.append(time.perf_counter())
    return middle([b - a for a, b in pairwise(stamps)])


def middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def single(loaded: LoadedModel, options: argparse.Namespace) -> list[dict]:
    results, generator = [], Generator(loaded)
    for length in (options.prompt // 5, 4 * options.prompt):
        ids, ratios = random_ids(length, seed=2), []
        for _ in range(5):
            bare = bare_loop(loaded.model, ids, 33)
            ((_, result),) = generator.run([RowInput(ids=ids, max_tokens=34, stop=("\n\nQuestion:",))])
            own = middle([b - a for a, b in zip(result.token_s[1:], result.token_s[2:])])
            print(f"  {length} tokens before: {1000 * own:.1f} ms, bare loop {1000 * bare:.1f} ms")
            ratios.append(own / bare)
        what = f"one row after {length} tokens, time a token against a bare loop"
        results.append({"workload": what, "ratio": middle(ratios), "target": "<= 1.05"})
    return results


def document(loaded: LoadedModel, options: argparse.Namespace) -> list[dict]:
    shared, rows = random_ids(4 * options.prompt, seed=3), options.questions
    prompts = [RowInput(ids=shared + random_ids(30, seed=10 + i), max_tokens=16) for i in range(rows)]
    together, _ = clocked(lambda: ours(loaded, prompts, options.slots))
    plan = batching.shared_segments
    batching.shared_segments = lambda prompts: [None] * len(prompts)
    try:
        apart, _ = clocked(lambda: ours(loaded, prompts, options.slots))
    finally:
        batching.shared_segments = plan
    print(f"  shared {together:.1f} s, not shared {apart:.1f} s")
    what = f"{rows} questions on a document of {len(shared)} tokens, against no sharing"
    return [{"workload": what, "ratio": apart / together, "target": ">= 8"}]


WORKLOADS = {"gsm8k": gsm8k, "decode": decode, "epochs": epochs, "single": single, "document": document}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--peers", nargs="+", default=["lm-eval", "generate", "generate_batch"])
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[3] / "shared")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--rows", type=int, default=128, help="GSM8K questions")
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--slots", type=int, default=16, help="rows that run together, the peers' batch size")
    parser.add_argument("--prompt", type=int, default=1000, help="tokens; the document has four times as many")
    parser.add_argument("--answer", type=int, default=32, help="tokens of each of the eight answers")
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loaded, results = build(options.shared, options.layers), []
    for name in options.only:
        print(name, flush=True)
        results += WORKLOADS[name](loaded, options)
    print("\n| workload | ratio | target |\n|---|---|---|")
    for r in results:
        print(f"| {r['workload']} | {r['ratio']:.2f} | {r['target']} |")
    if options.json:
        options.json.write_text(json.dumps(vars(options) | {"results": results}, default=str, indent=1))


if __name__ == "__main__":
    main()
