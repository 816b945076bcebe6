"""Finding, describing and refusing model folders."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from harness.backends import BACKENDS
from harness.errors import BackendError, ModelError
from harness.models.files import read_header
from harness.models.find import OWN_BACKEND, resolve_model
from harness.models.info import digest_model, inspect_model
from harness.models.safety import check_safe, check_versions
from harness.security.egress import PROVIDERS

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 64, "vocab_size": 4}
TENSORS = {
    "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
}


def safetensors(header: object = TENSORS, data: int = 22, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + bytes(data)


def write(folder: Path, name: str, content: object) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


@pytest.fixture
def good(tmp_path) -> Path:
    """A model folder without fault."""
    folder = tmp_path / "model"
    write(folder, "config.json", CONFIG)
    write(folder, "tokenizer_config.json", {"eos_token": "</s>"})
    write(folder, "model.safetensors", safetensors())
    return folder


def config(**keys):
    return lambda folder: write(folder, "config.json", {**CONFIG, **keys})


def tokenizer(**keys):
    return lambda folder: write(folder, "tokenizer_config.json", keys)


def weights(*args, **options):
    return lambda folder: write(folder, "model.safetensors", safetensors(*args, **options))


def pickle_only(folder):
    (folder / "model.safetensors").unlink()
    write(folder, "pytorch_model.bin", b"\x80\x04.")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def link_out(folder):
    (folder.parent / "secret.json").write_text("{}")
    os.symlink(folder.parent / "secret.json", folder / "vocab.json")


def deep(folder):
    write(folder, "config.json", b'{"a":' * 60 + b"1" + b"}" * 60)


def far_too_deep(folder):
    write(folder, "config.json", b'{"a":' * 200_000 + b"1" + b"}" * 200_000)


def index(weight_map):
    return lambda folder: write(folder, "model.safetensors.index.json", {"weight_map": weight_map})


def tensors(**changes):
    return weights({**TENSORS, "b": {**TENSORS["b"], **changes}})


HOSTILE = {
    "pickled weights": (pickle_only, "not in safetensors: pytorch_model.bin can run any code"),
    "no weights": (no_weights, "no weights"),
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "an adapter as a model": (lambda f: write(f, "adapter_config.json", {}), "this is an adapter, not a model"),
    "remote code": (config(auto_map={"AutoModel": "x.Y"}), "'auto_map' makes Python code"),
    "remote code in the tokenizer": (tokenizer(auto_map={"AutoTokenizer": ["x.Y", None]}), "'auto_map' makes Python"),
    "remote code deep inside": (config(text_config={"auto_map": {"a": "b"}}), "'text_config.auto_map' makes Python"),
    "trust key": (config(trust_remote_code=True), "'trust_remote_code' makes Python code"),
    "attention from a repository": (config(_attn_implementation_internal="evil/kernel"), "a repository whose code"),
    "attention kernel": (config(attn_implementation="evil/kernel"), "points outside the model's folder: 'evil/kernel'"),
    "nested attention kernel": (config(text_config={"_attn_implementation": "e/k"}), "'text_config._attn_implement"),
    "custom pipeline": (config(custom_pipelines={"p": {"impl": "x.Y"}}), "it names Python code to run"),
    "custom generation": (
        lambda f: write(f, "generation_config.json", {"custom_generate": "a/b"}),
        "names Python code",
    ),
    "backbone from a repository": (config(backbone="evil/net"), "'backbone' points outside"),
    "absolute tokenizer file": (tokenizer(tokenizer_file="/etc/passwd"), "points outside the model's folder"),
    "tokenizer file above": (tokenizer(vocab_file="../../secret"), "points outside the model's folder"),
    "list of files elsewhere": (tokenizer(fast_tokenizer_files=["tokenizer.json", "~/x"]), "fast_tokenizer_files.1"),
    "download address": (config(checkpoint_url="https://evil.example/x"), "points outside the model's folder"),
    "class with a dot": (tokenizer(tokenizer_class="os.system"), "not a class name: 'os.system'"),
    "architecture with a dot": (config(architectures=["os.system"]), "architectures holds 'os.system'"),
    "unknown model type": (config(model_type="lama"), "no model_type 'lama'"),
    "unknown type inside": (config(text_config={"model_type": "evil"}), "no model_type 'evil'"),
    "no model type": (config(model_type=None), "names no model_type"),
    "not a language model": (config(model_type="vit"), "'vit' is not a causal language model"),
    "config not JSON": (lambda f: write(f, "config.json", b"{"), "not valid JSON"),
    "config not an object": (lambda f: write(f, "config.json", [1]), "not a JSON object"),
    "config not UTF-8": (lambda f: write(f, "config.json", b"\xff\xfe"), "not valid JSON"),
    "key twice": (lambda f: write(f, "config.json", b'{"model_type":"llama","model_type":"x"}'), "stands twice"),
    "deep config": (deep, "nested deeper than 40"),
    "very deep config": (far_too_deep, "not valid JSON"),
    "link out of the folder": (link_out, "'vocab.json' is a link to a file outside"),
    "header longer than the file": (weights(length=10**12), "its header claims 1000000000000 bytes"),
    "file of four bytes": (lambda f: write(f, "model.safetensors", b"\x01\x00\x00\x00"), "not a sound safetensors"),
    "header not JSON": (weights(b"{'a': 1}"), "its header is not JSON"),
    "header a list": (weights([]), "its header is not an object"),
    "tensor twice": (weights(b'{"a":{},"a":{}}'), "a name stands twice"),
    "metadata not texts": (weights({**TENSORS, "__metadata__": {"a": 1}}), "__metadata__ is not an object of texts"),
    "unknown dtype": (tensors(dtype="PICKLE"), "tensor 'b' has the unknown dtype 'PICKLE'"),
    "negative shape": (tensors(shape=[-3]), "a shape that is not a list of sizes"),
    "wrong bytes for the shape": (tensors(shape=[4]), "has 6 bytes, which its shape and dtype do not need"),
    "overlap": (tensors(data_offsets=[10, 16]), "tensor 'b' starts at byte 10, the one before it ends at 16"),
    "gap": (tensors(data_offsets=[20, 26]), "tensor 'b' starts at byte 20, the one before it ends at 16"),
    "offsets backwards": (tensors(data_offsets=[22, 16]), "has -6 bytes"),
    "offsets of text": (tensors(data_offsets=["16", "22"]), "not two positions"),
    "more keys in a tensor": (tensors(code="x"), "not exactly dtype, shape and data_offsets"),
    "data after the tensors": (weights(data=99), "its tensors end at byte 22, its data at 99"),
    "data missing": (weights(data=20), "its tensors end at byte 22, its data at 20"),
    "shard above the folder": (
        index({"a": "../../x.safetensors"}),
        "'../../x.safetensors', which is not a safetensors",
    ),
    "shard a pickle": (index({"a": "pytorch_model.bin"}), "which is not a safetensors file"),
    "shard missing": (index({"a": "model-2.safetensors"}), "the shard 'model-2.safetensors' is missing"),
    "index without a map": (index({}), "has no weight_map"),
    "template with a power": (tokenizer(chat_template="{{ 'a' * 10 ** 9 }}"), "raises to a power in line 1"),
    "template that multiplies": (tokenizer(chat_template="{{ 'a' * 2000000000 }}"), "runs out of memory"),
    "template that doubles": (
        tokenizer(
            chat_template="{% set n = namespace(s='aa') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}"
        ),
        "runs out of memory",
    ),
    "template without end": (
        tokenizer(chat_template="{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
        "does not end",
    ),
    "template that writes much": (tokenizer(chat_template="{{ 'a' * 5000000 }}"), "writes over a million characters"),
    "template that leaves its sandbox": (
        tokenizer(chat_template="{{ cycler.__init__.__globals__.os.getpid() }}"),
        "tries to leave its sandbox",
    ),
    "template that includes": (
        tokenizer(chat_template="{% include '/etc/passwd' %}"),
        "includes another file in line 1",
    ),
    "template that does not parse": (tokenizer(chat_template="{% if %}"), "does not parse"),
    "one template of several": (
        tokenizer(chat_template=[{"name": "default", "template": "x"}, {"name": "t", "template": "{{ 2 ** 9 }}"}]),
        "chat_template 't'",
    ),
    "template in a file of its own": (lambda f: write(f, "chat_template.jinja", b"{{ 9**9 }}"), "chat_template.jinja"),
    "template as long as a book": (tokenizer(chat_template="a" * 600_000), "has 600000 characters"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_folder_is_refused_with_its_reason(good, spoil, message):
    spoil(good)
    with pytest.raises(ModelError) as caught:
        check_safe(good)
    assert message in str(caught.value)
    assert str(good) in str(caught.value)  # says where


HARMLESS = {
    "nothing unusual": lambda folder: None,
    "pickles beside safetensors": lambda f: write(f, "pytorch_model.bin", b"\x80\x04."),
    "notes of the training machine": config(_name_or_path="/home/someone/checkpoint-7", torch_dtype="bfloat16"),
    "where a tokenizer came from": tokenizer(special_tokens_map_file="/root/.cache/x.json", name_or_path="org/name"),
    "ordinary attention": config(_attn_implementation="flash_attention_2", _attn_implementation_autoset=True),
    "slashes in tokens": tokenizer(additional_special_tokens=["</s>", "/think", "a/b"], unk_token="//"),
    "remote code refused by its own folder": config(trust_remote_code=False, auto_map=None),
    "a chat template that takes no system message": tokenizer(
        chat_template="{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ bos_token }}"
    ),
    "a chat template with generation marks": tokenizer(
        chat_template="{% generation %}{{ messages[0].content }}{%- endgeneration -%}"
    ),
    "a chat template with today's date": tokenizer(
        chat_template="{{ strftime_now('%d %b %Y') }}{{ messages | tojson }}"
    ),
    "shards": index({"a": "model.safetensors"}),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_an_ordinary_folder_is_accepted(good, change):
    change(good)
    check_safe(good)


def test_remote_code_runs_only_where_it_is_allowed_by_name(good):
    config(auto_map={"AutoModelForCausalLM": "modeling.Net"}, model_type="net")(good)
    with pytest.raises(ModelError, match="set trust_remote_code: true for this model in the run file"):
        check_safe(good)
    check_safe(good, trust_remote_code=True)


def test_the_hubs_cache_may_link_to_its_blobs(good, tmp_path):
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc"
    blobs = tmp_path / "models--org--name" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in good.iterdir():
        file.rename(blobs / file.name)
        os.symlink(blobs / file.name, snapshot / file.name)
    check_safe(snapshot)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"auto_mapping": {"parent_library": "evil"}},
            "parent_library' names a Python package to import",
        ),
        ({"megatron_config": {"a": 1}}, "a Python package named in the file be imported"),
    ],
)
def test_a_hostile_adapter_is_refused(good, keys, message):
    with pytest.raises(ModelError, match="this is not an adapter"):
        check_safe(good, adapter=True)
    write(good, "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "org/base"})
    check_safe(good, adapter=True)
    library = "transformers.models.llama.modeling_llama"  # what peft itself writes
    write(good, "adapter_config.json", {"auto_mapping": {"base_model_class": "Llama", "parent_library": library}})
    check_safe(good, adapter=True)
    write(good, "adapter_config.json", keys)
    with pytest.raises(ModelError, match=message):
        check_safe(good, adapter=True)


def test_a_file_too_large_for_settings_is_refused(good, monkeypatch):
    monkeypatch.setattr("harness.models.files.MAX_JSON", 10)
    with pytest.raises(ModelError, match="larger than 10 bytes"):
        check_safe(good)


def test_a_header_over_the_limit_is_refused_unread(good, monkeypatch):
    monkeypatch.setattr("harness.models.files.MAX_HEADER", 10)
    with pytest.raises(ModelError, match="over the limit of 10"):
        read_header(good / "model.safetensors")


def test_old_libraries_are_refused(monkeypatch):
    check_versions()
    monkeypatch.setattr("harness.models.safety.metadata.version", lambda name: "2.9.1")
    with pytest.raises(BackendError, match=r"torch 2\.9\.1 can be made to run code(.|\n)*pip install 'torch>=2\.10'"):
        check_versions()


# --- what a folder is ------------------------------------------------------------------------------------------------


def test_a_folder_is_described_by_its_headers_and_its_card(good):
    template = "{{ messages[0].content }}"
    tokenizer(chat_template=template)(good)
    write(good, "README.md", b"---\nlicense: apache-2.0\nbase_model: [org/base]\n---\n# Model\n")
    info = inspect_model(good)
    assert (info.name, info.architecture, info.parameters, info.dtype) == ("model", "LlamaForCausalLM", 7, "F32")
    assert (info.context_length, info.licence, info.base_model) == (64, "apache-2.0", "org/base")
    assert info.bytes == (good / "model.safetensors").stat().st_size
    assert info.chat_template_sha256 == hashlib.sha256(template.encode()).hexdigest()


@pytest.mark.parametrize("card", [b"", b"# no front matter", b"---\n: [\n---\n", b"---\n- a\n---\n"])
def test_what_a_folder_does_not_say_is_unknown(good, card):
    write(good, "config.json", {"model_type": "llama"})
    write(good, "README.md", card)
    info = inspect_model(good)
    assert (info.architecture, info.context_length, info.licence, info.base_model) == (None, None, None, None)
    assert (info.has_chat_template, info.chat_template_sha256) == (False, None)


def test_digests_change_with_any_file(good):
    before = digest_model(good)
    assert set(before) == {"config.json", "tokenizer_config.json", "model.safetensors"}
    assert before["config.json"] == hashlib.sha256((good / "config.json").read_bytes()).hexdigest()
    write(good, "config.json", {})
    assert {name for name, digest in digest_model(good).items() if digest != before[name]} == {"config.json"}


def test_the_default_template_is_the_one_of_that_name(good):
    tokenizer(chat_template=[{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}])(good)
    assert inspect_model(good).chat_template_sha256 == hashlib.sha256(b"d").hexdigest()
    write(good, "chat_template.jinja", b"own file")
    assert inspect_model(good).chat_template_sha256 == hashlib.sha256(b"own file").hexdigest()


# --- finding ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_itself(good):
    assert resolve_model(good) == good
    assert resolve_model(str(good)) == good


def test_a_demo_model_is_found_by_name(good, monkeypatch):
    monkeypatch.setattr("harness.models.find.DEMO", good.parent)
    assert resolve_model("model") == good
    with pytest.raises(ModelError, match=r"no model folder 'modle'(.|\n)*did you mean 'model'"):
        resolve_model("modle")


def test_a_misspelt_folder_names_the_near_match(good):
    with pytest.raises(ModelError, match=r"no model folder(.|\n)*did you mean 'model'"):
        resolve_model(good.parent / "modell")


def test_only_folders_that_can_be_a_model_are_offered_for_a_missing_one(good, monkeypatch):
    write(good.parent, "adapter/adapter_config.json", {})
    write(good.parent, ".venv/config.json", {})
    write(good.parent, "src/main.json", {})
    monkeypatch.setattr("harness.models.find.DEMO", good.parent / "none")
    monkeypatch.chdir(good.parent)
    with pytest.raises(ModelError) as caught:
        resolve_model("tiny")
    assert caught.value.fix == "known: adapter, model"
    monkeypatch.chdir(good)
    with pytest.raises(ModelError) as caught:
        resolve_model("tiny")
    assert caught.value.fix == "give a folder, a demo model's name, or a hub id org/name"


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("gpt-5-mini", "`- {name: gpt-5-mini, backend: openai}`"),
        ("openai/gpt-5-mini", "`- {name: gpt-5-mini, backend: openai}`"),
        ("claude-haiku-4-5", "`- {name: claude-haiku-4-5, backend: anthropic}`"),
        ("cerebras/gpt-oss-120b", "`- {name: gpt-oss-120b, backend: openai, base_url: ...}`"),
    ],
)
def test_a_model_of_a_provider_is_told_to_stand_in_a_run_file_and_not_looked_up(name, fix, monkeypatch):
    monkeypatch.setattr("harness.models.find._from_hub", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(ModelError, match="is asked at a provider") as caught:
        resolve_model(name)
    assert caught.value.fix == f"name it in a run file: {fix}"


def test_open_weights_that_a_provider_serves_too_are_still_found_at_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.models.find._from_hub", lambda *_: tmp_path)
    assert resolve_model("openai/gpt-oss-120b") == tmp_path


def test_every_provider_with_a_backend_of_its_own_is_known():
    assert set(OWN_BACKEND) == set(PROVIDERS) and all(name in BACKENDS for name in OWN_BACKEND)


def test_a_folder_without_a_config_is_offered_no_other_file(good):
    (good / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config\.json") as caught:
        check_safe(good)
    assert "tokenizer_config" not in caught.value.fix and "where the model came from" in caught.value.fix


def test_a_file_is_not_a_model(good):
    with pytest.raises(ModelError, match=r"a model is a folder(.|\n)*give its folder"):
        resolve_model(good / "config.json")


def test_a_hub_id_is_taken_from_the_local_cache_without_the_network(good, tmp_path, monkeypatch):
    repo = tmp_path / "cache" / "models--org--name"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    (repo / "snapshots").mkdir()
    good.rename(repo / "snapshots" / "abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve_model("org/name") == repo / "snapshots" / "abc"
    with pytest.raises(ModelError, match=r"no model 'org/other' on this machine, and the hub did not give it"):
        resolve_model("org/other")


@pytest.mark.shared
@pytest.mark.parametrize(("name", "parameters"), [("stories260K", 260_032), ("TinyStories-656K", 656_000)])
def test_real_models_are_safe_and_counted(shared, name, parameters):
    check_safe(shared / "models" / name)
    assert inspect_model(shared / "models" / name).parameters == parameters
