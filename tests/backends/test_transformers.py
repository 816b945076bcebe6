"""What the transformers backend does with hard requests, full memory and broken models."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch

from harness.backends.local.backend import TransformersBackend
from harness.backends.local.load import available_cores
from harness.config.model import model_of
from harness.engine.loaded import cache_argument
from harness.errors import BackendError, ModelError
from harness.values import Message
from tests.support.asking import request_of


def build(path, **changes):
    asked = {"name": "m", "path": str(path), "device": "cpu", "threads": 1, "engine": "plain"}
    return TransformersBackend(model_of(**{**asked, **changes}))


@pytest.fixture(scope="module")
def llama(models):
    made = build(models("llama"))
    yield made
    made.close()


def ask(prompt="the cat", key="k", **changes):
    return request_of(key, changes.pop("sample_id", "7"), prompt, **changes)


def error_of(responses):
    (response,) = responses
    assert response.text is None and response.logprobs is None
    return response.error


# --- requests that do not fit ----------------------------------------------------------------------------------------


def test_a_long_prompt_keeps_its_end_and_the_cut_is_counted(llama):
    (response,) = llama.answer([ask("the cat sat on " * 20, max_tokens=10)])
    n = len(llama.loaded.tokenizer.encode("the cat sat on " * 20))
    assert (response.input_tokens, response.truncated_left) == (54, n - 54)
    (scored,) = llama.answer([ask("the cat sat on " * 20, mode="loglikelihood", continuations=(" red",))])
    whole = len(llama.loaded.tokenizer.encode("the cat sat on " * 20 + " red"))
    assert (scored.input_tokens, scored.truncated_left) == (65, whole - 65)


def test_a_limit_that_fills_the_context_is_an_error_of_that_request(llama):
    good, bad = ask(key="good", max_tokens=3), ask(key="bad", max_tokens=64)
    errors = {r.key: r.error for r in llama.answer([good, bad])}
    assert errors == {
        "good": None,
        "bad": "sample '7': max_tokens 64 leaves no room for a prompt in a context of 64 tokens",
    }
    assert "ask for at least one token" in error_of(llama.answer([ask(max_tokens=0)]))


def test_continuations_that_cannot_be_scored_name_their_sample(llama):
    assert error_of(llama.answer([ask(mode="loglikelihood", continuations=("",))])) == (
        "sample '7': the continuation '' adds no token to the prompt"
    )
    assert "there is no continuation to score" in error_of(llama.answer([ask(mode="loglikelihood")]))
    long = error_of(llama.answer([ask(mode="loglikelihood", continuations=("x" * 200,))]))
    assert "has 200 tokens, the model reads 64" in long


def test_a_shorter_context_can_be_asked_for(models):
    small = build(models("llama"), max_length=20)
    assert small.describe().context_length == 20
    (response,) = small.answer([ask("the cat sat on " * 20, max_tokens=5)])
    assert response.input_tokens == 15


def test_a_model_without_any_opening_token_says_so(models):
    made = build(models("llama", bos=False))
    assert made.loaded.prefix_token == 1  # no BOS: EOS stands in, as in lm-eval
    object.__setattr__(made.loaded, "prefix_token", None)
    assert "has no token that opens a text" in error_of(made.answer([ask("")]))
    assert "has no token that opens a text" in error_of(
        made.answer([ask("", mode="loglikelihood", continuations=("cat",))])
    )


def test_a_token_the_model_does_not_know_is_named(models):
    made = build(models("llama"))
    rows = made.loaded.model.get_input_embeddings().weight.shape[0]
    made.loaded.tokenizer.add_tokens(["brandnew"])
    words = f"the tokenizer gives token {rows}, the model knows {rows}"
    assert words in error_of(made.answer([ask("brandnew", max_tokens=2)]))
    assert words in error_of(made.answer([ask("a", mode="loglikelihood", continuations=(" brandnew",))]))


# --- chat ------------------------------------------------------------------------------------------------------------

CHAT = (Message("system", "be brief"), Message("user", "hi"))


def test_messages_go_through_the_models_template_with_one_bos(models):
    made = build(models("llama", chat=True))
    (response,) = made.answer([ask(CHAT[1:], max_tokens=2)])
    assert response.prompt == "<s>[user] hi [assistant]"
    assert response.input_tokens == len(made.loaded.tokenizer.encode(response.prompt, add_special_tokens=False))
    assert made.describe().chat_template_sha256 is not None


def test_a_template_that_takes_no_system_message_gets_it_in_the_first_turn(models):
    made = build(models("llama", chat=True))
    (response,) = made.answer([ask(CHAT, mode="loglikelihood", continuations=(" a", " b"))])
    assert response.prompt == "<s>[user] be brief\n\nhi [assistant]"
    assert response.applied.otherwise == {"system_message": "put before the first user message"}
    refused = error_of(made.answer([ask((CHAT[0],))]))
    assert "the model's chat template refuses the messages: no system message here" in refused
    twice = error_of(made.answer([ask((*CHAT, CHAT[0]))]))
    assert "refuses the messages" in twice


def test_a_model_without_a_template_says_how_to_go_on(llama):
    assert "the model has no chat template (set chat_template: off)" in error_of(llama.answer([ask(CHAT)]))


# --- stops -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def obedient(models):
    """A model that writes the given ids, whatever it is asked."""
    made = build(models("llama"))
    tokenizer, model = made.loaded.tokenizer, made.loaded.model
    plan: dict[str, list[int]] = {}

    def steer(module, args, kwargs, output):
        cache = kwargs[cache_argument(type(module))]
        step = cache.get_seq_length() - plan["prompt"]
        output.logits[:, -1, :] = 0
        output.logits[:, -1, plan["ids"][min(step, len(plan["ids"]) - 1)]] = 50
        return output

    model.register_forward_hook(steer, with_kwargs=True)

    def write(ids, **options):
        plan["ids"], plan["prompt"] = ids, len(tokenizer.encode("the cat"))
        (response,) = made.answer([ask("the cat", max_tokens=len(ids), **options)])
        return response

    return tokenizer, write


def test_each_way_to_end_is_told_apart(obedient):
    tokenizer, write = obedient
    words = tokenizer.encode(" red , blue", add_special_tokens=False)
    special = tokenizer.convert_tokens_to_ids("<stop>")
    told = lambda r: (r.text, r.output_tokens, r.finish_reason, r.stop_string)
    n = len(words)
    assert told(write(words)) == (" red , blue", n, "length", None)
    assert told(write([*words, 1, 5])) == (" red , blue", n + 1, "stop", None)  # </s>
    assert told(write([1, 5])) == ("", 1, "stop", None)  # an empty answer is an answer
    assert told(write([*words, 5], stop=(" blue",))) == (" red ,", n, "stop", " blue")
    assert told(write([*words, special, 5], stop=("<stop>",))) == (" red , blue", n + 1, "stop", "<stop>")
    spelt = tokenizer.encode(" red", add_special_tokens=False) + [ord_id(tokenizer, c) for c in "</s>"]
    assert told(write([*spelt, 5]))[0::2] == (" red", "stop")  # the end-of-text token spelt out
    letters = [ord_id(tokenizer, c) for c in "xSTOPy"]
    assert told(write(letters, stop=("STOP", "TOP"))) == ("x", 5, "stop", "STOP")


def ord_id(tokenizer, letter):
    return tokenizer.convert_tokens_to_ids(letter)


def test_a_character_of_several_tokens_is_written_whole(obedient):
    tokenizer, write = obedient
    ids = tokenizer.encode("☃ é", add_special_tokens=False)
    assert len(ids) > 3
    assert write(ids).text == "☃ é"


# --- memory and broken numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["plain", "auto"])
def test_after_out_of_memory_every_request_is_still_answered_once(models, engine, monkeypatch, caplog):
    made = build(models("llama"), engine=engine)
    words = ("the cat sat", "a dog ran far", "yes or no ?")
    asked = {"mode": "loglikelihood", "continuations": (" a dog", " red cat", " no")}
    requests = [ask(f"{words[i % 3]} {i}", str(i), **asked) for i in range(9)]
    usual = {r.key: r.logprobs for r in made.answer(requests)}
    forward, most = type(made.loaded.model.model).forward, []

    def tight(self, input_ids=None, *args, **options):
        if input_ids.numel() > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        most.append(input_ids.numel())
        return forward(self, input_ids, *args, **options)

    monkeypatch.setattr(type(made.loaded.model.model), "forward", tight)
    with caplog.at_level(logging.INFO):
        responses = list(made.answer(requests))
    assert sorted(r.key for r in responses) == sorted(usual)
    for response in responses:
        assert response.logprobs == pytest.approx(usual[response.key], abs=1e-5)
    assert most and "out of memory" in caplog.text


def test_generation_survives_full_memory_too(models, monkeypatch):
    made = build(models("llama"))
    requests = [ask("the cat", str(i), max_tokens=3, sample_id=str(i)) for i in range(8)]
    usual = {r.key: r.text for r in made.answer(requests)}
    forward = type(made.loaded.model).forward

    def tight(self, input_ids=None, **options):
        if input_ids.shape[0] > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return forward(self, input_ids=input_ids, **options)

    monkeypatch.setattr(type(made.loaded.model), "forward", tight)
    responses = list(made.answer(requests))
    assert {r.key: r.text for r in responses} == usual
    assert len(responses) == 8 and max(r.batch_size for r in responses) == 2


def test_a_request_that_fits_in_no_memory_fails_alone(models, monkeypatch):
    made = build(models("llama"))
    forward = type(made.loaded.model).forward

    def tight(self, input_ids=None, **options):
        if input_ids.shape[1] > 12:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids=input_ids, **options)

    monkeypatch.setattr(type(made.loaded.model), "forward", tight)
    prompts = {"short": "a", "long": "the cat sat on the mat " * 4}
    for mode, options in (("loglikelihood", {"continuations": (" a", " b")}), ("generate", {"max_tokens": 2})):
        requests = [ask(text, key, mode=mode, **options) for key, text in prompts.items()]
        errors = {r.key: r.error for r in made.answer(requests)}
        assert errors["short"] is None
        assert "out of memory on a sequence of" in errors["long"]


def test_another_runtime_error_is_a_bug_and_keeps_its_traceback(models, monkeypatch):
    made = build(models("llama"))

    def broken(self, **options):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(type(made.loaded.model), "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(made.answer([ask(mode="loglikelihood", continuations=(" a",))]))


def test_logits_that_are_not_numbers_are_an_error_naming_the_sample(models):
    made = build(models("llama"))
    token = made.loaded.tokenizer.encode("dog", add_special_tokens=False)[0]
    with torch.no_grad():  # only prompts that hold this token are spoilt
        made.loaded.model.get_input_embeddings().weight[token] = float("nan")
    words = "sample '9': the model's logits are not finite numbers"
    asked = {"mode": "loglikelihood", "continuations": (" a", " b")}
    errors = {
        r.key: r.error for r in made.answer([ask("cat", "good", **asked), ask("dog", "bad", sample_id="9", **asked)])
    }
    assert errors == {"good": None, "bad": words}
    asked = {"max_tokens": 4}
    errors = {
        r.key: r.error for r in made.answer([ask("cat", "good", **asked), ask("dog", "bad", sample_id="9", **asked)])
    }
    assert errors == {"good": None, "bad": words}


# --- loading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "stored"), [("auto", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_the_dtype_is_the_weights_own_unless_asked_for(models, dtype, stored):
    assert build(models("llama"), dtype=dtype).describe().dtype == stored


def test_auto_keeps_half_precision_weights_as_they_are(models, tmp_path):
    from transformers import AutoModelForCausalLM

    shutil.copytree(models("llama"), tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(models("llama"), dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    assert build(tmp_path / "half").describe().dtype == "bfloat16"


def test_a_device_that_is_not_there_is_refused_by_name(models):
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match=r"there is no device 'cuda' here(.|\n)*device: auto, or one of: cpu"):
            build(models("llama"), device="cuda")
    with pytest.raises(BackendError, match="there is no device 'cuda:99' here"):
        build(models("llama"), device="cuda:99")


def test_a_model_may_be_spread_by_a_device_map(models, llama):
    spread = build(models("llama"), device="device_map")
    request = ask(mode="loglikelihood", continuations=(" a", " red"))
    assert next(spread.answer([request])).logprobs == pytest.approx(next(llama.answer([request])).logprobs, abs=1e-5)
    assert spread.describe().device == "device_map"


def test_missing_libraries_are_named_with_the_command_that_installs_them(models, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"quantization: 4bit needs bitsandbytes(.|\n)*pip install bitsandbytes"):
        build(models("llama"), quantization="4bit")
    with pytest.raises(BackendError, match=r"adapters need peft(.|\n)*pip install peft"):
        build(models("llama"), adapter="somewhere")


def test_weights_with_a_tensor_missing_are_refused_not_filled_with_noise(models, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "torn"
    shutil.copytree(models("llama"), folder)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"the weights lack 1 tensors(.|\n)*mlp\.up_proj(.|\n)*incomplete"):
        build(folder)


def test_a_folder_without_a_tokenizer_is_refused(models, tmp_path):
    folder = tmp_path / "mute"
    shutil.copytree(models("llama"), folder, ignore=shutil.ignore_patterns("tokenizer*", "special*"))
    with pytest.raises(ModelError, match="the model folder has no tokenizer") as caught:
        build(folder)
    assert caught.value.fix == "get all files of the model again"


def test_an_unsafe_folder_is_refused_before_transformers_sees_it(models, tmp_path):
    folder = tmp_path / "evil"
    shutil.copytree(models("llama"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_attn_implementation_internal": "evil/kernel"}))
    with pytest.raises(ModelError, match="'_attn_implementation_internal' is refused"):
        build(folder)


def test_an_adapter_changes_the_numbers_and_keeps_the_models_class(models, tmp_path, llama):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(models("llama"))
    lora = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    lora.save_pretrained(tmp_path / "lora")
    made = build(models("llama"), adapter=str(tmp_path / "lora"))
    request = ask("the dog ran", mode="loglikelihood", continuations=(" a", " red"))
    (response,) = made.answer([request])
    ids = torch.tensor([made.loaded.tokenizer.encode("the dog ran a")])
    with torch.no_grad():
        expected = float(lora(ids).logits[0, -2].log_softmax(-1)[ids[0, -1]])
    assert response.logprobs[0] == pytest.approx(expected, abs=1e-5)
    assert response.logprobs != pytest.approx(next(llama.answer([request])).logprobs, abs=1e-4)
    assert made.describe().architecture == "LlamaForCausalLM"
    with pytest.raises(ModelError, match="the adapter does not fit the model"):
        build(models("gpt2"), adapter=str(tmp_path / "lora"))


@pytest.mark.slow
def test_an_adapter_of_virtual_tokens_is_refused(models, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    base = AutoModelForCausalLM.from_pretrained(models("llama"))
    peft.get_peft_model(base, config).save_pretrained(tmp_path / "prompt")
    with pytest.raises(ModelError, match="adds virtual tokens to the prompt"):
        build(models("llama"), adapter=str(tmp_path / "prompt"))


@pytest.mark.slow
def test_closing_frees_the_weights(models):
    import gc
    import weakref

    made = build(models("llama"), engine="auto")
    list(made.answer([ask(mode="loglikelihood", continuations=(" a",))]))
    list(made.answer([ask(max_tokens=2)]))
    weights = weakref.ref(made.loaded.model)
    made.close()
    gc.collect()
    assert weights() is None


@pytest.mark.slow
def test_cores_are_at_least_one_and_no_more_than_the_machine_has():
    import os

    assert 1 <= available_cores() <= os.cpu_count()
