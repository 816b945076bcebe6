"""Trains the two demo models from nothing, on CPU, and measures them on the committed test rows.

    python -m harness.demo.train [demo-0.1m] [demo-2m]

The same seed, thread count and library versions give the same weights. The data are made as they are needed
(`data.py`), in exactly the prompts the task files ask; the loss is on the answers, and on whole sentences for the
statements that teach the catalogue.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harness.demo import data, words
from harness.demo.texts import ROWS, SEED, answer, question, sequences, task_of
from harness.scoring.scorers.fields import fields
from harness.tasks.kinds.generate import GenerateTask

MODELS_DIR = Path(__file__).resolve().parent / "models"
VOCABULARY = 2048
CONTEXT = 1024
THREADS = 1  # one thread gives the same weights on any machine with these library versions
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
# Names and numbers (two digits at a time) are cut the same way wherever they stand: copying a value is copying tokens.
PIECES = r" \p{Lu}(?!\p{L})| ?\p{Ll}+|\p{Lu}+\p{Ll}*|\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The shape of a model and how long it is trained."""

    width: int
    layers: int
    heads: int
    inner: int  # of the MLP
    steps: int
    rate: float  # peak learning rate


RECIPES = {
    "demo-0.1m": Recipe(width=32, layers=3, heads=4, inner=64, steps=400, rate=6e-3),
    "demo-2m": Recipe(width=192, layers=4, heads=6, inner=512, steps=620, rate=2e-3),
}


def make_tokenizer(seed: int = SEED) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE tokenizer learned from the training texts; it puts one BOS in front of every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ("".join(p.text for p in s) for kind in ROWS for s, _ in zip(sequences(kind, seed), range(2000)))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


# --- training ----------------------------------------------------------------------------------------------------


def make_model(recipe: Recipe, seed: int = SEED) -> LlamaForCausalLM:
    """Returns an untrained model."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=2,
        intermediate_size=recipe.inner,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.04,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config)


def batches(
    kind: str, tokenizer: PreTrainedTokenizerFast, seed: int = SEED
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields (ids, learned) without end, both (rows, longest), padded on the right."""
    stream = sequences(kind, seed)
    while True:
        texts = [next(stream) for _ in range(ROWS[kind])]
        encoded = iter(tokenizer([p.text for t in texts for p in t], add_special_tokens=False)["input_ids"])
        rows = []
        for text in texts:
            ids, learned = [0], [False]
            for piece in text:
                part = next(encoded)
                ids += part
                learned += [piece.learned] * len(part)
            rows.append((torch.tensor([*ids, 1]), torch.tensor([*learned, True])))
        pad = torch.nn.utils.rnn.pad_sequence
        yield pad([r[0] for r in rows], True, 2), pad([r[1] for r in rows], True, False)


def answer_loss(model: LlamaForCausalLM, ids: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
    """Returns the mean loss in nats of the learned tokens; only their positions are projected to the vocabulary."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[learned[:, 1:]])
    return functional.cross_entropy(logits.float(), ids[:, 1:][learned[:, 1:]])


def train(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int = SEED
) -> Iterator[dict[str, float]]:
    """Trains the model in place; yields the loss of each kind after every step."""
    streams = {kind: batches(kind, tokenizer, seed) for kind in ROWS}
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.95), weight_decay=0.01)
    model.train()
    for step in range(recipe.steps):
        rising = min(1.0, (step + 1) / 50)
        falling = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * rising * falling
        losses = {}
        for kind, stream in streams.items():
            loss = answer_loss(model, *next(stream))
            loss.backward()
            losses[kind] = loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield losses


# --- measuring ---------------------------------------------------------------------------------------------------


def load(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Returns a saved model, computing in float32, and its tokenizer."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, PreTrainedTokenizerFast.from_pretrained(folder)


def accuracy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: str, limit: int | None = None) -> float:
    """Returns the share of right answers on the test rows (of right fields, for invoice-fields)."""
    rows = [json.loads(line) for line in data.path_of(task).read_text(encoding="utf-8").splitlines()]
    shots = [row for row in rows if row["split"] == "dev"]
    rows = [row for row in rows if row["split"] == "test"][:limit]
    config = task_of(task)
    shown = shots[: config.shots.n] if config.shots else []
    head = "".join(f"{question(task, shot)} {answer(task, shot)}{config.separator}" for shot in shown)
    prompts = [head + question(task, row) for row in rows]
    if isinstance(config, GenerateTask):
        texts = generate(model, tokenizer, prompts, config.max_tokens)
        scores = (fields(row[config.answer], text, **config.score["fields"])[0] for row, text in zip(rows, texts))
        return sum(scores) / len(rows)
    same = config.choices if isinstance(config.choices, tuple) else ()  # those of product-facts are in its rows
    labels = [[row[letter] for letter in data.LETTERS] if task == "product-facts" else same for row in rows]
    chosen = choose(model, tokenizer, prompts, labels)
    return sum(label == answer(task, row) for label, row in zip(chosen, rows)) / len(rows)


@torch.inference_mode()
def choose(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], labels: Sequence[Sequence[str]]
) -> list[str]:
    """Returns for each prompt the one of its labels whose tokens have the highest summed log-probability after it."""
    chosen = []
    for start in range(0, len(prompts), 8):
        pairs = [(prompt, label) for prompt, own in list(zip(prompts, labels))[start : start + 8] for label in own]
        whole = [tokenizer(f"{prompt} {label}")["input_ids"] for prompt, label in pairs]
        before = [len(tokenizer(prompt)["input_ids"]) for prompt, _ in pairs]
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in whole], True, 2)
        scores = model(input_ids=ids[:, :-1]).logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        sums = [scores[i, n - 1 : len(row) - 1].sum().item() for i, (n, row) in enumerate(zip(before, whole))]
        for own in labels[start : start + 8]:
            mine, sums = sums[: len(own)], sums[len(own) :]
            chosen.append(own[mine.index(max(mine))])
    return chosen


@torch.inference_mode()
def generate(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], max_tokens: int
) -> list[str]:
    """Returns what the model writes after each prompt, greedily, up to its end-of-text token."""
    texts = []
    for start in range(0, len(prompts), 50):
        inputs = tokenizer(
            list(prompts[start : start + 50]),
            return_tensors="pt",
            padding=True,
            padding_side="left",
            return_token_type_ids=False,
        )
        asked = inputs["input_ids"].shape[1]
        written = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)[:, asked:]  # type: ignore[misc]  # typed for a mixin alone
        texts += tokenizer.batch_decode(written, skip_special_tokens=True)
    return texts


# --- the command -------------------------------------------------------------------------------------------------

CARD = """\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [demo, synthetic-data]
components:
  Training code: apache-2.0
  Data preprocessing code: apache-2.0
  Inference code: apache-2.0
  Evaluation code: apache-2.0
  Evaluation data: apache-2.0
  Evaluation results: apache-2.0
  Datasets: apache-2.0
---

# {name}

A {parameters:,}-parameter Llama-architecture model that answers the three demo tasks of `harness`, so that a first run
works offline and its table shows a real trade-off. It is a fully open example: weights, data and code are in one
repository, and the data were written for it.

| | |
|---|---|
| shape | {layers} layers, width {width}, {heads} heads (2 for keys and values), MLP {inner}, context {context} |
| tokenizer | byte-level BPE, {vocabulary} tokens, learned from the training texts; puts one `<s>` in front of a text |
| data | `harness/demo/data.py`: made by templates, seeded, original text; test templates and slot values are held out |
| made by | `python -m harness.demo.train {name}` (seed {seed}, {steps} steps, {threads} thread, bfloat16 autocast) |
| took | {minutes:.1f} minutes on {processor}, torch {torch}, transformers {transformers} |

## Measured

All committed test rows, weights as saved, computed in float32.

| task | test rows | correct |
|---|---|---|
{measured}

`product-facts` is asked with the five shots of its dev split. Chance is {chance_routing:.1%} on support-routing and
25 % on product-facts. For invoice-fields the number is the share of fields that are right.

## Limits

It knows the three tasks and nothing else: no general language, no other catalogue, English only. It must not be used
for real tickets or invoices. Text unlike its training templates gets an answer as sure as any other.
"""


def card(name: str, recipe: Recipe, parameters: int, seconds: float, measured: Mapping[str, float]) -> str:
    """Returns the model card (README.md) of a trained model."""
    lines = [f"| {task} | {data.TEST_ROWS[task]} | {share:.1%} |" for task, share in measured.items()]
    return CARD.format(
        name=name,
        parameters=parameters,
        **dataclasses.asdict(recipe),
        context=CONTEXT,
        vocabulary=VOCABULARY,
        seed=SEED,
        threads=THREADS,
        minutes=seconds / 60,
        processor=_processor(),
        torch=torch.__version__.partition("+")[0],
        transformers=transformers.__version__,
        measured="\n".join(lines),
        chance_routing=1 / len(words.TEAMS),
    )


def _processor() -> str:
    """Returns the processor's name as Linux tells it, elsewhere as Python does."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return named[1] if named else platform.processor() or "an unnamed processor"


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes model (as bfloat16) and tokenizer as an ordinary folder that older transformers can read as well."""
    model.eval().to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(
        json.dumps({**settings, "tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n", encoding="utf-8"
    )


def build(name: str) -> None:
    """Trains, saves and measures one model, and writes its card."""
    torch.set_num_threads(THREADS)
    recipe = RECIPES[name]
    tokenizer, model = make_tokenizer(), make_model(recipe)
    started = time.perf_counter()
    for step, losses in enumerate(train(model, tokenizer, recipe), start=1):
        if step % 50 == 0 or step == recipe.steps:
            shown = "  ".join(f"{kind} {loss:.3f}" for kind, loss in losses.items())
            elapsed = time.perf_counter() - started
            print(f"{name} {step}/{recipe.steps} {elapsed:.0f} s  {shown}", file=sys.stderr, flush=True)
    folder = MODELS_DIR / name
    save(model, tokenizer, folder)
    measured = {task: accuracy(*load(folder), task) for task in data.TEST_ROWS}
    text = card(name, recipe, model.num_parameters(), elapsed, measured)
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(f"{name}: " + ", ".join(f"{task} {share:.1%}" for task, share in measured.items()))


def main() -> None:
    """Builds the models named on the command line, or both."""
    for name in sys.argv[1:] or RECIPES:
        build(name)


if __name__ == "__main__":
    main()
