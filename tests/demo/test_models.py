"""The demo models: ordinary folders, small, and as accurate as their cards say; and the training that made them."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
import torch
import yaml
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from harness.demo import data, texts, train

NAMES = tuple(train.RECIPES)
FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
SUBSET = 100  # the first test rows of each task


@pytest.fixture(scope="module", params=NAMES)
def loaded(request):
    return (request.param, *train.load(train.MODELS_DIR / request.param))


@pytest.fixture(scope="module")
def fresh_tokenizer():
    """The tokenizer as training makes it."""
    return train.make_tokenizer()


@pytest.fixture
def one_thread():
    """Torch on one thread, as in training, for the length of a test."""
    threads = torch.get_num_threads()
    torch.set_num_threads(train.THREADS)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, str], float]:
    """Accuracy of each model on the first rows of each task."""
    models = {name: train.load(train.MODELS_DIR / name) for name in NAMES}
    return {(name, task): train.accuracy(*models[name], task, SUBSET) for name in NAMES for task in data.TEST_ROWS}


def front_matter(name: str) -> dict:
    return yaml.safe_load((train.MODELS_DIR / name / "README.md").read_text(encoding="utf-8").split("---\n")[1])


# --- folders ---------------------------------------------------------------------------------------------------------


def test_both_folders_together_are_at_most_8_mb():
    assert sum(path.stat().st_size for name in NAMES for path in (train.MODELS_DIR / name).iterdir()) <= 8_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_holds_safetensors_and_ordinary_files_only(name):
    assert {path.name for path in (train.MODELS_DIR / name).iterdir()} == FILES


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_bfloat16_and_finite(name):
    with safe_open(train.MODELS_DIR / name / "model.safetensors", "pt") as weights:
        for key in weights.keys():  # noqa: SIM118 (not a mapping)
            assert weights.get_tensor(key).dtype == torch.bfloat16
            assert weights.get_tensor(key).isfinite().all()


@pytest.mark.parametrize(("name", "least", "most"), [("demo-0.1m", 80_000, 130_000), ("demo-2m", 1_000_000, 3_000_000)])
def test_the_models_have_the_promised_size_and_architecture(name, least, most):
    model = AutoModelForCausalLM.from_pretrained(train.MODELS_DIR / name)
    assert isinstance(model, LlamaForCausalLM)
    assert model.dtype == torch.bfloat16
    assert least <= model.num_parameters() <= most
    assert model.config.max_position_embeddings == 1024
    assert model.config.num_key_value_heads < model.config.num_attention_heads


@pytest.mark.parametrize("name", NAMES)
def test_the_card_names_licence_seed_command_and_accuracies(name):
    card = (train.MODELS_DIR / name / "README.md").read_text(encoding="utf-8")
    assert front_matter(name)["license"] == "apache-2.0"
    assert f"python -m harness.demo.train {name}" in card
    assert f"seed {train.SEED}" in card
    assert all(task in card for task in data.TEST_ROWS)


# --- tokenizer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "Ticket: hello\nTeam:", "€1,240.50 — größer 日本\r\n\tx  ", "</s> inside", '{"a": null}']
)
def test_exactly_one_bos_is_added_and_text_comes_back_unchanged(loaded, text):
    _, _, tokenizer = loaded
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(ids[1:]) == text


@pytest.mark.slow
def test_the_tokenizer_file_is_the_one_that_training_makes(loaded, fresh_tokenizer):
    name, _, tokenizer = loaded
    saved = json.loads((train.MODELS_DIR / name / "tokenizer.json").read_text(encoding="utf-8"))
    assert saved == json.loads(fresh_tokenizer.backend_tokenizer.to_str())
    assert json.loads(tokenizer.backend_tokenizer.to_str())["pre_tokenizer"] == saved["pre_tokenizer"]


@pytest.mark.parametrize("task", ["support-routing", "product-facts"])
def test_a_label_after_a_prompt_is_the_same_tokens_as_in_training(loaded, task):
    _, _, tokenizer = loaded
    prompt, label = next(texts.sequences(task))[:2]
    whole = tokenizer(prompt.text + label.text)["input_ids"]
    assert whole == tokenizer(prompt.text)["input_ids"] + tokenizer(label.text, add_special_tokens=False)["input_ids"]


def test_five_shots_fit_the_context(loaded):
    _, model, tokenizer = loaded
    longest = max(
        len(tokenizer("".join(piece.text for piece in pieces))["input_ids"])
        for pieces in itertools.islice(texts.sequences("product-facts"), 50)
    )
    assert longest < model.config.max_position_embeddings / 2


# --- accuracy --------------------------------------------------------------------------------------------------------

BANDS = {  # around what the cards say of all test rows: the first hundred may be easier or harder
    ("demo-2m", "support-routing"): (0.60, 0.90),
    ("demo-0.1m", "support-routing"): (0.30, 0.58),
    ("demo-2m", "invoice-fields"): (0.15, 0.40),
    ("demo-0.1m", "invoice-fields"): (0.0, 0.12),
    ("demo-2m", "product-facts"): (0.95, 1.0),
    ("demo-0.1m", "product-facts"): (0.26, 0.52),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), BANDS)
def test_a_model_is_about_as_accurate_as_promised(measured, name, task):
    low, high = BANDS[name, task]
    assert low <= measured[name, task] <= high


@pytest.mark.slow
@pytest.mark.parametrize("task", data.TEST_ROWS)
def test_the_larger_model_is_clearly_better(measured, task):
    assert measured["demo-2m", task] >= measured["demo-0.1m", task] + 0.08


@pytest.mark.slow
def test_an_answer_ends_by_itself(loaded):
    _, model, tokenizer = loaded
    row = next(
        row for row in map(json.loads, data.path_of("invoice-fields").open(encoding="utf-8")) if row["split"] == "test"
    )
    prompt = tokenizer(texts.question("invoice-fields", row), return_tensors="pt", return_token_type_ids=False)
    written = model.generate(**prompt, max_new_tokens=128, do_sample=False)
    assert written[0, -1] == tokenizer.eos_token_id


# --- training --------------------------------------------------------------------------------------------------------


def few_steps(tokenizer, seed: int):
    recipe = dataclasses.replace(train.RECIPES["demo-0.1m"], steps=6)
    model = train.make_model(recipe, seed)
    losses = [sum(step.values()) for step in train.train(model, tokenizer, recipe, seed)]
    return losses, torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_and_repeat_exactly_under_the_same_seed(fresh_tokenizer, one_thread):
    losses, weights = few_steps(fresh_tokenizer, seed=1)
    again, same_weights = few_steps(fresh_tokenizer, seed=1)
    assert losses[-1] < losses[0]
    assert losses == again
    assert torch.equal(weights, same_weights)
