"""Scores choices with the engine and with lm-eval on the same weights, machine and requests, and prints the ratios.

    python -m tests.benchmarks.scoring                        # everything: about an hour on two cores
    python -m tests.benchmarks.scoring --only mmlu --items 10 --dtypes bf16 --repeats 1

The model has the shape of Qwen2-0.5B with random weights, and GPT-2's tokenizer. The peer runs at the best of several
batch sizes, tried on a part of the requests. Both are timed from texts to log-probabilities, in alternating order.
"""

from __future__ import annotations

import argparse
import copy
import csv
import ctypes
import gc
import json
import logging
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
import torch

Item = tuple[str, tuple[str, ...]]
SUBJECTS = ("anatomy", "astronomy", "marketing")  # each of 100 questions or more
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PEER_BATCHES = (1, 4, 8, 16)
TRIED = 16  # items on which the peer's batch sizes are compared


# --- requests --------------------------------------------------------------------------------------------------------


def mmlu_rows(shared: Path, split: str, subject: str) -> list[list[str]]:
    with (shared / f"data/mmlu/{split}/{subject}_{split}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def mmlu_block(row: list[str]) -> str:
    return f"{row[0].strip()}\nA. {row[1]}\nB. {row[2]}\nC. {row[3]}\nD. {row[4]}\nAnswer:"


def mmlu_header(shared: Path, subject: str) -> str:
    shots = "".join(f"{mmlu_block(row)} {row[5]}\n\n" for row in mmlu_rows(shared, "dev", subject)[:5])
    about = subject.replace("_", " ")
    return f"The following are multiple choice questions (with answers) about {about}.\n\n{shots}"


def mmlu(shared: Path, items: int) -> list[Item]:
    """Five shots, `items` questions of each of three subjects."""
    return [
        (mmlu_header(shared, subject) + mmlu_block(row), (" A", " B", " C", " D"))
        for subject in SUBJECTS
        for row in mmlu_rows(shared, "test", subject)[:items]
    ]


def one_header(shared: Path, items: int) -> list[Item]:
    """`items` questions behind one header: what a subject costs as it grows."""
    names = sorted(path.name.removesuffix("_test.csv") for path in (shared / "data/mmlu/test").iterdir())
    rows = [row for name in names if "history" not in name for row in mmlu_rows(shared, "test", name)[:60]]
    header = mmlu_header(shared, SUBJECTS[0])
    return [(header + mmlu_block(row), (" A", " B", " C", " D")) for row in rows[:items]]


def lines(path: Path, items: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:items]]


def hellaswag_item(row: dict[str, Any]) -> tuple[str, list[str]]:
    clean = lambda text: re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")
    return clean(f"{row['activity_label']}: {row['ctx']}"), [clean(ending) for ending in row["endings"]]


def hellaswag(shared: Path, items: int) -> list[Item]:
    rows = map(hellaswag_item, lines(shared / "data/hellaswag_val_1000.jsonl", items))
    return [(context, tuple(f" {ending}" for ending in endings)) for context, endings in rows]


def hellaswag_shots(shared: Path, items: int) -> list[Item]:
    """Ten shots, the same before every item."""
    rows = lines(shared / "data/hellaswag_val_1000.jsonl", items + 10)
    shots = "".join(f"{c} {endings[row['label']]}\n\n" for row in rows[:10] for c, endings in [hellaswag_item(row)])
    rest = map(hellaswag_item, rows[10:])
    return [(shots + context, tuple(f" {ending}" for ending in endings)) for context, endings in rest]


def arc_easy(shared: Path, items: int) -> list[Item]:
    rows = lines(shared / "data/arc_easy.jsonl", items)
    return [(f"{row['query']}\nAnswer:", tuple(f" {choice}" for choice in row["choices"])) for row in rows]


# name: requests, items, dtypes, target
WORKLOADS: dict[str, tuple[Callable[[Path, int], list[Item]], int, tuple[str, ...], float]] = {
    "mmlu": (mmlu, 100, ("bf16", "fp32"), 7),
    "hellaswag": (hellaswag, 200, ("fp32",), 3),
    "arc_easy": (arc_easy, 300, ("fp32",), 3),
    "hellaswag_10_shot": (hellaswag_shots, 100, ("fp32",), 10),
}


# --- the two sides ---------------------------------------------------------------------------------------------------


def build(dtype: torch.dtype, layers: int) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=layers,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151_936,
        max_position_embeddings=32_768,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return Qwen2ForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


class Peer:
    """lm-eval's HFLM at one batch size."""

    def __init__(self, model: Any, tokenizer: Any, batch: int) -> None:
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM

        self.instance = Instance
        self.model = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch)

    def __call__(self, items: list[Item]) -> list[float]:
        pairs = [(context, choice) for context, choices in items for choice in choices]
        asked = [self.instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in pairs]
        return [logprob for logprob, _ in self.model.loglikelihood(asked, disable_tqdm=True)]


class Ours:
    """The engine as the backend runs it, on a copy of the weights where it changes the model's layers."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        from harness.engine.fast_linear import quicken
        from harness.engine.loaded import LoadedModel
        from harness.engine.score.choose import plain_score, scorer_for

        if model.dtype == torch.float32:
            model = copy.deepcopy(model)
            quicken(model)
        self.loaded = LoadedModel(model, tokenizer, model.device, 32_768, tokenizer.eos_token_id, (), None)
        self.score = scorer_for(self.loaded)
        assert self.score is not plain_score
        self.stats: Any = None

    def encode(self, items: list[Item]) -> list[Any]:
        from harness.engine.tokens import encode_pairs

        pairs = [(context, choice) for context, choices in items for choice in choices]
        prefix = self.loaded.prefix_token
        return encode_pairs(self.loaded.tokenizer, pairs, max_length=self.loaded.max_length, prefix_token=prefix)

    def __call__(self, items: list[Item]) -> list[float]:
        def keep(stats: Any) -> None:
            self.stats = stats

        scored = dict(self.score(self.loaded, self.encode(items), on_stats=keep))
        return [scored[index].logprob for index in range(len(scored))]


# --- measuring -------------------------------------------------------------------------------------------------------


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    gc.collect()
    start = time.perf_counter()
    result = run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def peak_beyond(run: Callable[[], Any]) -> int | None:
    """Returns the most memory `run` held beyond what was held before, in bytes; None where it cannot be told."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    if not Path("/proc/self/clear_refs").exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = status("VmRSS")
    run()
    return status("VmHWM") - before


def status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


@torch.inference_mode()
def matmul_rate(model: Any, tokens: int) -> float:
    """Returns the machine's own rate (FLOP/s) on the products of all layers, for batches of `tokens`."""
    layers = [m for m in model.model.layers.modules() if isinstance(m, torch.nn.Linear)]
    inputs = {m.in_features: torch.randn(tokens, m.in_features, dtype=model.dtype).to(model.device) for m in layers}

    def once() -> None:
        for layer in layers:
            layer(inputs[layer.in_features])

    once()
    seconds = statistics.median(timed(once)[1] for _ in range(5))
    return 2 * tokens * sum(m.weight.numel() for m in layers) / seconds


def useful_flop(model: Any, sequences: list[Any], stats: Any) -> float:
    """Returns the FLOP of the matrix products that are needed: layers and attention once a distinct token, head once
    a judged row. Repeated tokens and padding are not needed."""
    from harness.engine.score import prefix_tree

    layer = sum(m.weight.numel() for m in model.model.layers[0].modules() if isinstance(m, torch.nn.Linear))
    n_layers, width = len(model.model.layers), model.config.hidden_size
    tree = prefix_tree.build(sequences)
    seen = sum(int(np.arange(a, b).sum()) + b - a for a, b in zip(tree.shared, tree.lengths))
    head = model.get_output_embeddings().weight.numel()
    return 2.0 * n_layers * (layer * stats.distinct_tokens + 2 * width * seen) + 2.0 * head * stats.judged_rows


def compare(name: str, args: argparse.Namespace, dtype: str, model: Any, tokenizer: Any) -> dict[str, Any]:
    make, full, _, target = WORKLOADS[name]
    items = make(args.shared, args.items or full)
    ours = Ours(model, tokenizer)
    few = items[:: max(1, len(items) // TRIED)][:TRIED]
    trials = {batch: timed(lambda b=batch: Peer(model, tokenizer, b)(few))[1] for batch in args.peer_batches}
    best = min(trials, key=trials.get)
    peer = Peer(model, tokenizer, best)
    say(f"{name} {dtype}: peer's batch size {best} of { ({b: round(s, 1) for b, s in trials.items()}) }")
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    results: dict[str, list[float]] = {}
    for repeat in range(args.repeats):
        sides = [("ours", ours), ("peer", peer)]
        for side, run in sides if repeat % 2 == 0 else sides[::-1]:
            results[side], taken = timed(lambda run=run: run(items))
            seconds[side].append(taken)
            say(f"{name} {dtype}: {side} {taken:.1f} s")
    ratios = [theirs / own for own, theirs in zip(seconds["ours"], seconds["peer"])]
    stats = ours.stats
    flop = useful_flop(model, ours.encode(items), stats)
    rate = matmul_rate(ours.loaded.model, max(64, stats.forwarded_tokens // stats.batches))
    own_s = statistics.median(seconds["ours"])
    memory = [peak_beyond(lambda run=run: run(few)) for run in (ours, peer)]
    return {
        "workload": f"{name} ({len(items)} items)",
        "dtype": dtype,
        "ours s": own_s,
        "lm-eval s": statistics.median(seconds["peer"]),
        "batch": best,
        "ratio": statistics.median(seconds["peer"]) / own_s,
        "spread": f"{min(ratios):.1f}-{max(ratios):.1f}",
        "target": target,
        "largest difference": max(abs(a - b) for a, b in zip(results["ours"], results["peer"])),
        "share of matmul rate": flop / own_s / rate,
        "forwarded / distinct": stats.forwarded_tokens / stats.distinct_tokens,
        "padding": stats.padding_tokens / stats.forwarded_tokens,
        "peak MB ours": memory[0] and memory[0] / 1e6,
        "peak MB lm-eval": memory[1] and memory[1] / 1e6,
    }


def growth(args: argparse.Namespace, model: Any, tokenizer: Any) -> list[str]:
    """Seconds against distinct tokens as the questions behind one header grow."""
    ours = Ours(model, tokenizer)
    points = []
    for items in (50, 100, 200, 400):
        taken = [timed(lambda n=items: ours(one_header(args.shared, n)))[1] for _ in range(args.repeats)]
        points.append((items, ours.stats.distinct_tokens, statistics.median(taken)))
        say(f"growth: {items} questions, {points[-1][1]} tokens, {points[-1][2]:.1f} s")
    tokens, seconds = np.array([p[1] for p in points]), np.array([p[2] for p in points])
    r2 = float(np.corrcoef(tokens, seconds)[0, 1] ** 2)
    rows = [f"| {n} | {count} | {s:.2f} |" for n, count, s in points]
    return ["| questions | distinct tokens | s |", "|---|---|---|", *rows, f"r² = {r2:.4f} (target > 0.99)"]


def preparation(args: argparse.Namespace, tokenizer: Any) -> list[str]:
    """Seconds from rows to token ids of all MMLU questions at hand, and of the 14,042 there are."""
    from harness.config.run import TaskUse
    from harness.engine.tokens import encode_pairs
    from harness.tasks.kinds import prompt_of
    from harness.tasks.load import load_task
    from harness.tasks.shots import shots_for

    task = load_task(TaskUse(task="mmlu", data=str(args.shared / "data/mmlu")))

    def ours() -> int:
        pairs = []
        for sample in task.samples:
            prompt = prompt_of(task.config, sample, shots_for(task, sample, 0), False)
            pairs += [(prompt, choice) for choice in (f" {label}" for label in sample.labels)]
        return len(encode_pairs(tokenizer, pairs, max_length=2048, prefix_token=tokenizer.eos_token_id))

    def peer_tasks(folder: Path) -> list[Any]:
        from lm_eval.api.task import ConfigurableTask

        tasks = []
        for path in sorted((args.shared / "data/mmlu/test").iterdir()):
            subject = path.name.removesuffix("_test.csv")
            files = {}
            for split in ("dev", "test"):
                files[split] = str(folder / f"{subject}_{split}.jsonl")
                rows = [
                    {"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5])}
                    for row in mmlu_rows(args.shared, split, subject)
                ]
                Path(files[split]).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
            about = subject.replace("_", " ")
            config = {
                "task": f"mmlu_{subject}",
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": files},
                "test_split": "test",
                "fewshot_split": "dev",
                "fewshot_config": {"sampler": "first_n"},
                "num_fewshot": 5,
                "output_type": "multiple_choice",
                "description": f"The following are multiple choice questions (with answers) about {about}.\n\n",
                "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\n"
                "D. {{choices[3]}}\nAnswer:",
                "doc_to_choice": ["A", "B", "C", "D"],
                "doc_to_target": "answer",
                "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            }
            tasks.append(ConfigurableTask(config=config))
        return tasks

    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = folder
        tasks = peer_tasks(Path(folder))
        model = build(torch.bfloat16, layers=1)
        lm = Peer(model, tokenizer, 1).model

        def peer() -> int:
            n = 0
            for each in tasks:
                each.build_all_requests(limit=None, rank=0, world_size=1)
                for asked in each.instances:
                    lm._encode_pair(*asked.args)
                    n += 1
            return n

        (n_ours, own_s), (n_peer, peer_s) = timed(ours), timed(peer)
    assert n_ours == n_peer, (n_ours, n_peer)
    scale = 56_168 / n_ours
    return [
        f"preparation of {n_ours} MMLU requests: ours {own_s:.1f} s, lm-eval {peer_s:.1f} s, {peer_s / own_s:.1f} x "
        f"(target 20 x); at 56,168 requests ours {own_s * scale:.1f} s (target < 15 s), lm-eval {peer_s * scale:.0f} s"
    ]


# --- the table -------------------------------------------------------------------------------------------------------


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    def cell(value: Any) -> str:
        if value is None:
            return "unknown"
        if isinstance(value, float):
            return f"{value:.2g}" if abs(value) < 0.01 else f"{value:.2f}"
        return str(value)

    yield "| " + " | ".join(rows[0]) + " |"
    yield "|" + "---|" * len(rows[0])
    for row in rows:
        yield "| " + " | ".join(map(cell, row.values())) + " |"


def main() -> None:
    """Runs what was asked for and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[3] / "shared")
    parser.add_argument("--only", nargs="+", choices=[*WORKLOADS, "growth", "preparation"])
    parser.add_argument("--items", type=int, help="items of each workload (mmlu: of each subject); default: all")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, help="default: as each workload's target says")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-batches", nargs="+", type=int, default=PEER_BATCHES)
    parser.add_argument("--layers", type=int, default=24, help="fewer: a quick look, not a measurement")
    args = parser.parse_args()
    logging.disable(logging.WARNING)

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.shared / "tokenizers/gpt2")
    wanted = args.only or [*WORKLOADS, "growth", "preparation"]
    rows, text = [], []
    for dtype, kind in DTYPES.items():
        chosen = [name for name in wanted if name in WORKLOADS and dtype in (args.dtypes or WORKLOADS[name][2])]
        grows = "growth" in wanted and dtype == "bf16"
        if not chosen and not grows:
            continue
        model = build(kind, args.layers)
        if torch.cuda.is_available():
            model.to("cuda")
        rows += [compare(name, args, dtype, model, tokenizer) for name in chosen]
        text += growth(args, model, tokenizer) if grows else []
        del model
    text += preparation(args, tokenizer) if "preparation" in wanted else []
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    print(f"torch {torch.__version__}, {where}, {args.layers} layers, {args.repeats} repeats, medians\n")
    print("\n".join([*(table(rows) if rows else []), "", *text]))


if __name__ == "__main__":
    main()
