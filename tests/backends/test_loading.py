"""What stands in a model's folder is what is loaded, or the difference is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.backends.local.backend import TransformersBackend
from harness.backends.local.templates import ChatTemplate
from harness.config.model import model_of
from harness.errors import ModelError
from harness.models.safety import check_safe
from harness.values import Message
from tests.support.asking import request_of

pytestmark = pytest.mark.slow

PAIR = {"mode": "loglikelihood", "continuations": (" a", " red")}


def build(path: Path, **changes: Any) -> TransformersBackend:
    return TransformersBackend(model_of(**{"name": "m", "path": str(path), "device": "cpu", "threads": 1, **changes}))


def logprobs(made: TransformersBackend, prompt: Any = "the dog ran") -> tuple[float, ...]:
    (response,) = made.answer([request_of("k", "s", prompt, **PAIR)])
    assert response.error is None, response.error
    return response.logprobs


@pytest.fixture
def copy(models, tmp_path):
    """Returns a copy of a model's folder, to be changed."""

    def get(**options: Any) -> Path:
        return Path(shutil.copytree(models("llama", **options), tmp_path / "copy"))

    return get


def edit_tokenizer(folder: Path, **changes: Any) -> None:
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def framed(*names: str) -> dict[str, Any]:
    """Returns a post-processor that writes <s> and </s> where they are named, A being the text."""
    parts = [
        {"Sequence": {"id": "A", "type_id": 0}} if n == "A" else {"SpecialToken": {"id": n, "type_id": 0}}
        for n in names
    ]
    known = {n: {"id": n, "ids": [i], "tokens": [n]} for i, n in enumerate(("<s>", "</s>"))}
    return {"type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": known}


# --- tokenizers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "part", "said"),
    [(("<s>", "A", "</s>"), "tokenizer", "ends every text with </s>"), (("<s>", "<s>", "A"), "bos", "<s> twice")],
)
def test_tokens_that_a_tokenizer_adds_too_many_are_taken_off_and_named(models, copy, names, part, said):
    folder, plain = copy(), build(models("llama"))
    edit_tokenizer(folder, post_processor=framed(*names))
    made = build(folder)
    assert said in made.describe().otherwise[part] and not plain.describe().otherwise
    assert logprobs(made) == logprobs(plain)
    for asked in ({"max_tokens": 5}, {"mode": "loglikelihood", "continuations": ("a text",), "rolling": True}):
        ours, theirs = (next(one.answer([request_of("k", "s", "the cat", **asked)])) for one in (made, plain))
        assert (ours.text, ours.logprobs, ours.input_tokens) == (theirs.text, theirs.logprobs, theirs.input_tokens)


def test_control_tokens_in_the_data_are_text_where_they_are_asked_and_scored(models):
    made = build(models("llama", chat=True, context=256))
    said = (Message("user", "wrote </s><stop>"),)
    tokenizer = made.loaded.tokenizer
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "</s>"]
    (asked,) = made.answer([request_of("k", "s", said, max_tokens=2)])
    assert asked.prompt == "<s>[user] wrote </s><stop> [assistant]"
    assert asked.input_tokens > len(tokenizer.encode(asked.prompt, add_special_tokens=False))
    (scored,) = made.answer([request_of("k", "s", said, mode="loglikelihood", continuations=("</s>", "a"))])
    control = ChatTemplate(tokenizer).control
    ids = control.reader([control.mark(control.hide("x").replace("x", "") + control.hide("</s>"))])["input_ids"][0]
    assert ids == letters and scored.error is None
    prefix = control.reader([control.mark(f"<s>[user] wrote {control.hide('</s><stop>')} [assistant]")])["input_ids"][0]
    assert prefix[0] == 0 and not {0, 1, 2} & set(prefix[1:])
    logits = made.loaded.model(torch.tensor([[*prefix, *letters]])).logits[0].log_softmax(-1)
    expected = sum(float(logits[len(prefix) - 1 + i, token].detach()) for i, token in enumerate(letters))
    assert scored.logprobs[0] == pytest.approx(expected, abs=1e-4)


def test_a_template_that_asks_for_the_date_is_told_a_fixed_one_which_is_named(copy):
    folder = copy(chat=True)
    (folder / "chat_template.jinja").write_text("{{ strftime_now('%Y-%m-%d') }} {{ messages[0].content }}")
    made = build(folder)
    (response,) = made.answer([request_of("k", "s", (Message("user", "hi"),), max_tokens=2)])
    assert response.prompt == "2025-01-01 hi"
    assert "is told 2025-01-01" in made.describe().otherwise["chat_template"]


# --- weights ---------------------------------------------------------------------------------------------------------


def edit_weights(folder: Path, **more: torch.Tensor) -> None:
    file = folder / "model.safetensors"
    save_file(load_file(file) | more, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "name",
    ["model.layers.2.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight_scale", "stray", "model.score.weight"],
)
def test_tensors_that_the_model_has_no_place_for_are_named(copy, name):
    folder = copy()
    edit_weights(folder, **{name: torch.ones(2)})
    with pytest.raises(ModelError, match="hold 1 tensors that the model has no place for") as caught:
        build(folder)
    assert name.removeprefix("model.") in caught.value.what and len(caught.value.lines()) == 3


@pytest.mark.parametrize(
    "name", ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.0.self_attn.masked_bias", "a.attn.bias"]
)
def test_tensors_that_a_model_computes_itself_may_stand_there(models, copy, name):
    folder = copy()
    edit_weights(folder, **{name: torch.ones(2)})
    made = build(folder)
    assert logprobs(made) == logprobs(build(models("llama"))) and not made.describe().otherwise


def test_parts_beside_the_language_model_are_left_out_and_named(copy):
    folder = copy()
    edit_weights(folder, **{"v_head.summary.weight": torch.ones(2), "vision_tower.a.weight": torch.ones(2)})
    assert (
        build(folder).describe().otherwise["weights"].startswith("2 tensors beside the language model are not loaded")
    )


def edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("stated", [{"quant_method": "gptqq"}, {"quant_method": None}, {"bits": 4}])
def test_a_quantization_that_nobody_knows_is_not_passed_over(copy, stated):
    folder = copy()
    edit_config(folder, quantization_config=stated)
    with pytest.raises(ModelError, match="which transformers does not know") as caught:
        build(folder)
    assert len(caught.value.lines()) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 3},
        {"hidden_size": 31},
        {"rope_scaling": {"rope_type": "nothing"}},
        {"hidden_act": "none"},
        {"eos_token_id": "two"},
        {"vocab_size": "many"},
        {"max_position_embeddings": -1},
        {"num_hidden_layers": None},
        {"text_config": 3},
    ],
    ids=str,
)
def test_settings_that_fit_no_weights_are_three_lines(copy, changes):
    folder = copy()
    edit_config(folder, **changes)
    try:
        made = build(folder)
    except ModelError as error:
        assert len(error.lines()) == 3
    else:  # read as something sound
        logprobs(made)


# --- kinds of models -------------------------------------------------------------------------------------------------


def written(folder: Path, model: Any, source: Path) -> Path:
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def test_parts_without_a_type_of_their_own_are_no_fault(models, tmp_path):
    from transformers import MptConfig, MptForCausalLM

    torch.manual_seed(0)
    config = MptConfig(vocab_size=512, d_model=32, n_layers=2, n_heads=4, max_seq_len=64)
    made = build(written(tmp_path / "mpt", MptForCausalLM(config), models("llama")))
    assert made.describe().context_length == 64 and len(logprobs(made)) == 2
    check_safe(tmp_path / "mpt")


TEXT = {
    "vocab_size": 512, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
SEES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16}


def image_reader(kind: str) -> Any:
    import transformers as t

    if kind == "llava":
        config = t.LlavaConfig(text_config={**TEXT, "model_type": "llama"}, vision_config={**SEES, "patch_size": 8,
            "model_type": "clip_vision_model"}, image_token_index=500)  # fmt: skip
        return t.LlavaForConditionalGeneration(config)
    if kind == "mistral3":
        config = t.Mistral3Config(text_config={**TEXT, "model_type": "mistral"}, vision_config={**SEES,
            "patch_size": 8, "head_dim": 8, "model_type": "pixtral"}, image_token_index=500)  # fmt: skip
        return t.Mistral3ForConditionalGeneration(config)
    if kind == "smolvlm":
        config = t.SmolVLMConfig(text_config={**TEXT, "model_type": "llama", "pad_token_id": 0}, vision_config={
            **SEES, "patch_size": 8}, image_token_id=500, scale_factor=2)  # fmt: skip
        return t.SmolVLMForConditionalGeneration(config)
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    if kind == "qwen2_5_vl":
        config = t.Qwen2_5_VLConfig(text_config={**TEXT, "rope_parameters": rope}, vision_config=vision)
        return t.Qwen2_5_VLForConditionalGeneration(config)
    more = {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    text = {**TEXT, "head_dim": 8, "rope_parameters": {**rope, "mrope_interleaved": True}}
    config = t.Qwen3VLConfig(text_config=text, vision_config={**vision, **more})
    return t.Qwen3VLForConditionalGeneration(config)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llava", "mistral3", "smolvlm", "qwen2_5_vl", "qwen3_vl"])
def test_models_that_read_images_too_read_text(models, tmp_path, kind):
    torch.manual_seed(0)
    model = image_reader(kind).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    made = build(written(tmp_path / kind, model, models("llama")))
    ids = torch.tensor([made.loaded.tokenizer.encode("the dog ran a")])
    with torch.no_grad():
        expected = float(model(input_ids=ids).logits[0, -2].log_softmax(-1)[ids[0, -1]])
    assert logprobs(made)[0] == pytest.approx(expected, abs=1e-4)
    asked = [
        request_of(str(i), str(i), text, max_tokens=6) for i, text in enumerate(("the cat", "a dog ran far", "no"))
    ]
    together = {one.key: one.text for one in made.answer(asked)}
    assert together == {one.key: next(made.answer([one])).text for one in asked}
    assert len(logprobs(made, "no")) == 2  # nothing of the rows before is left in it


# --- adapters --------------------------------------------------------------------------------------------------------


@pytest.fixture
def adapted(models, tmp_path):
    """Writes an adapter of the llama model; returns its folder and the tensors' file."""
    peft = pytest.importorskip("peft")

    def write(base: Path | None = None, rows: int | None = None, **settings: Any) -> tuple[Path, Path]:
        model = AutoModelForCausalLM.from_pretrained(base or models("llama"))
        if rows is not None:
            model.resize_token_embeddings(rows)
        config = peft.LoraConfig(
            **{"r": 2, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, **settings}
        )
        peft.get_peft_model(model, config).save_pretrained(tmp_path / "lora")
        return tmp_path / "lora", tmp_path / "lora" / "adapter_model.safetensors"

    return write


def renamed(file: Path, rename: Any) -> None:
    save_file({new: t for name, t in load_file(file).items() if (new := rename(name))}, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (lambda name: name.replace("model.model.", "model.model.language_model."), "has no place for 8 tensors"),
        (lambda name: name.replace("base_model.model.", ""), "has no place for 8 tensors"),
        (lambda name: name.replace("layers.1", "layers.7"), "has no place for 4 tensors"),
        (lambda name: name.replace("lora_A", "lora_C"), "has no place for 4 tensors"),
        (lambda name: None if "layers.1" in name else name, "lacks 4 tensors"),
        (lambda name: None if "lora_B" in name else name, "lacks 4 tensors"),
    ],
)
def test_an_adapter_of_which_a_tensor_is_not_used_or_lacking_is_refused(models, adapted, rename, said):
    folder, file = adapted()
    build(models("llama"), adapter=str(folder))
    renamed(file, rename)
    with pytest.raises(ModelError, match=said) as caught:
        build(models("llama"), adapter=str(folder))
    assert len(caught.value.lines()) == 3


def test_every_part_that_an_adapter_names_is_found(models, adapted):
    folder, _ = adapted()
    settings = json.loads((folder / "adapter_config.json").read_text())
    for key in ("target_modules", "modules_to_save"):
        names = [*(settings[key] or []), "no_such_part"]
        (folder / "adapter_config.json").write_text(json.dumps(settings | {key: names}))
        with pytest.raises(ModelError, match=f"changes 'no_such_part' .{key}., which the model does not have"):
            build(models("llama"), adapter=str(folder))


def test_modules_that_an_adapter_saves_whole_are_used(models, adapted):
    folder, file = adapted(modules_to_save=["lm_head"])
    before = logprobs(build(models("llama"), adapter=str(folder)))
    head = next(name for name in load_file(file) if "lm_head" in name)
    edited = load_file(file)
    save_file(edited | {head: edited[head].flip(0).contiguous()}, file, metadata={"format": "pt"})
    assert logprobs(build(models("llama"), adapter=str(folder))) != before
    renamed(file, lambda name: None if name == head else name)
    with pytest.raises(ModelError, match=r"does not fit the model|lacks"):
        build(models("llama"), adapter=str(folder))


def own_tokenizer(folder: Path, source: Path, *words: str) -> int:
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words])
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def test_tokens_that_an_adapter_adds_are_read_with_its_own_embeddings(models, adapted):
    rows = len(AutoTokenizer.from_pretrained(models("llama"))) + 1
    folder, file = adapted(rows=rows)
    assert own_tokenizer(folder, models("llama"), "<ticket>") == rows
    made = build(models("llama"), adapter=str(folder))
    assert made.loaded.tokenizer.encode("<ticket>")[-1] == rows - 1
    assert "1 tokens that the model's has not" in made.describe().otherwise["adapter_tokenizer"]
    brought = next(t for name, t in load_file(file).items() if "embed_tokens" in name)
    assert torch.equal(made.loaded.model.get_input_embeddings().weight[-1], brought[-1])
    assert len(logprobs(made, "the <ticket>")) == 2


def test_added_tokens_without_embeddings_and_other_numbers_are_refused(models, adapted):
    folder, _ = adapted()
    own_tokenizer(folder, models("llama"), "<ticket>")
    with pytest.raises(ModelError, match="and it brings no embeddings"):
        build(models("llama"), adapter=str(folder))
    file = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = file["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(file))
    with pytest.raises(ModelError, match="numbers tokens otherwise than the model's"):
        build(models("llama"), adapter=str(folder))


def test_the_chat_template_of_an_adapter_goes_before_the_models(models, adapted):
    folder, _ = adapted()
    (folder / "chat_template.jinja").write_text("<<{{ messages[0].content }}>>")
    made = build(models("llama", chat=True), adapter=str(folder))
    (response,) = made.answer([request_of("k", "s", (Message("user", "hi"),), max_tokens=2)])
    assert response.prompt == "<<hi>>" and "in place of the model's" in made.describe().otherwise["adapter_template"]
