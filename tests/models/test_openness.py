"""Licence chains, openness by component, and training compute, from model folders made of a few small files."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from harness.models import openness
from harness.models.licences import LICENCES, recognised, terms
from harness.models.openness import chain, compute, describe, training_tokens, weakest
from harness.models.sizes import active_parameters
from harness.reports.model_text import openness_lines


def model(
    folder: Path, card: str = "", body: str = "", tensors: dict[str, list[int]] | None = None, **config: Any
) -> Path:
    """A model folder: front matter, text of the card, shapes of its tensors, keys of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(f"---\n{card}\n---\n{body}")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"} | config))
    header, end = {}, 0
    for name, shape in (tensors or {"a.weight": [1000, 1000]}).items():
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return folder


@pytest.mark.parametrize(
    ("licence", "commercial", "osi"),
    [
        ("apache-2.0", "yes", True),
        ("MIT", "yes", True),
        ("cc-by-4.0", "yes", False),
        ("llama3.1", "conditional", False),
        ("gemma", "conditional", False),
        ("Qwen Research", "no", False),
        ("mrl", "no", False),
        ("cc-by-nc-4.0", "no", False),
        ("some-house-licence", "unknown", False),
        (None, "unknown", False),
    ],
)
def test_a_licence_is_known_by_its_identifier(licence: str | None, commercial: str, osi: bool):
    assert (terms(licence).commercial, terms(licence).osi) == (commercial, osi)
    assert terms(licence).reason


def test_every_licence_of_the_table_has_a_reason_and_only_free_ones_are_open():
    for name, known in LICENCES.items():
        assert name == name.lower() and known.reason
        assert known.commercial == "yes" or not (known.osi or known.content), name


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("                  Apache License\n            Version 2.0, January 2004", "apache-2.0"),
        ("MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining\na copy", "mit"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "llama3.1"),
        ("Creative Commons Attribution-NonCommercial 4.0 International", "cc-by-nc-4.0"),
        ("All rights reserved.", None),
    ],
)
def test_a_licence_is_told_by_its_words(text: str, licence: str | None):
    assert recognised(text) == licence


def test_the_most_restrictive_licence_of_the_chain_decides(tmp_path: Path):
    model(tmp_path / "root", "license: other\nlicense_name: qwen-research")
    model(tmp_path / "tuned", "license: apache-2.0\nbase_model: maker/root")
    top = model(tmp_path / "quantised", "license: mit\nbase_model: [someone/tuned]\nbase_model_relation: quantized")
    links = chain(top)
    assert [(link.name, link.licence) for link in links] == [
        ("quantised", "mit"), ("someone/tuned", "apache-2.0"), ("maker/root", "qwen-research"),
    ]  # fmt: skip
    assert weakest(links).name == "maker/root"
    found = describe(top)
    assert (found.commercial, found.licence) == ("no", "qwen-research")
    assert found.reason.startswith("maker/root: ") and found.parts["weights"] == "restricted"


def test_a_base_that_is_not_here_makes_the_chain_unknown_but_no_better(tmp_path: Path):
    top = model(tmp_path / "a", "license: apache-2.0\nbase_model: maker/gone")
    assert (describe(top).commercial, describe(top).licence) == ("unknown", None)
    assert "not on this machine" in describe(top).reason
    assert describe(top).parts["weights"] == "unknown"
    own = model(tmp_path / "b", "license: cc-by-nc-4.0\nbase_model: maker/gone")
    assert describe(own).commercial == "no"


def test_a_base_is_found_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    model(tmp_path / "hub" / "models--maker--root" / "snapshots" / "abc", "license: gemma")
    top = model(tmp_path / "x" / "top", "license: mit\nbase_model: maker/root")
    assert describe(top).commercial == "conditional"
    assert describe(chain_folder := tmp_path / "hub" / "models--maker--root" / "snapshots" / "abc").publisher == "maker"
    assert chain_folder.is_dir()


def test_a_chain_that_runs_in_a_circle_ends(tmp_path: Path):
    model(tmp_path / "a", "license: mit\nbase_model: x/b\ntraining_tokens: 1")
    model(tmp_path / "b", "license: mit\nbase_model: x/a\ntraining_tokens: 1")
    assert [link.name for link in chain(tmp_path / "a")] == ["a", "x/b"]
    assert compute(tmp_path / "a").flop is None


@pytest.mark.parametrize("base", ["../../etc", "/etc", "a/b/c", "..", "x/..", "{}"])
def test_a_base_that_is_no_name_is_not_looked_for(tmp_path: Path, base: str):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    top = model(tmp_path / "m" / "a", f"license: mit\nbase_model: '{base}'")
    assert [link.commercial for link in chain(top)] == ["yes", "unknown"]


def test_a_licence_file_that_says_less_than_the_card_decides(tmp_path: Path):
    top = model(tmp_path / "a", "license: mit")
    (top / "LICENSE").write_text("Attribution-NonCommercial 4.0 International")
    found = describe(top)
    assert found.commercial == "no" and "the card says mit, its LICENSE file reads like cc-by-nc-4.0" in found.reason
    silent = model(tmp_path / "b", "tags: [x]")
    (silent / "LICENSE.txt").write_text("Apache License\nVersion 2.0")
    assert describe(silent).licence == "apache-2.0" and "the card declares none" in describe(silent).reason


def test_of_several_licences_on_a_card_the_strictest_decides(tmp_path: Path):
    assert describe(model(tmp_path / "a", "license: [mit, cc-by-nc-4.0]")).commercial == "no"


def test_a_folder_that_declares_nothing_is_unknown_and_nothing_of_it_is_absent(tmp_path: Path):
    top = model(tmp_path / "a", auto_map={"AutoModel": "x.Y"})
    found = describe(top)
    assert (found.commercial, found.mof_class, found.osaid) == ("unknown", "unknown", "unknown")
    assert set(found.parts.values()) == {"unknown"}
    assert (found.publisher, found.country, found.compute.flop) == (None, None, None)


OPEN = "license: apache-2.0\ncomponents:\n  Training code: apache-2.0\n  Datasets: cc-by-4.0\n"


def test_open_weights_code_and_data_meet_the_definition(tmp_path: Path):
    found = describe(model(tmp_path / "a", OPEN + "  Evaluation code: mit"))
    assert set(found.parts.values()) == {"open"}
    assert found.osaid == "yes"
    assert found.mof_class == "unknown"  # no technical report is declared
    assert found.mof_missing["III"] == ("Data card", "Technical report", "Evaluation results")


@pytest.mark.parametrize(
    ("more", "part", "state"),
    [
        ("  Evaluation code: cc-by-4.0", "evaluation code", "restricted"),  # a licence for texts opens no code
        ("  Evaluation code: absent", "evaluation code", "absent"),
        ("  Evaluation code: house-licence", "evaluation code", "unknown"),
        ("", "evaluation code", "unknown"),
    ],
)
def test_a_part_is_open_only_under_a_licence_that_fits_it(tmp_path: Path, more: str, part: str, state: str):
    assert describe(model(tmp_path / "a", OPEN + more)).parts[part] == state


def test_what_is_declared_absent_fails_the_definition(tmp_path: Path):
    found = describe(model(tmp_path / "a", OPEN.replace("Training code: apache-2.0", "Training code: absent")))
    assert (found.parts["training code"], found.osaid) == ("absent", "no")


def listed(names: tuple[str, ...], licence: str = "Apache-2.0", common: str = "{}") -> str:
    items = "".join(f"    - name: '{name}'\n" + (f"      license: {licence}\n" if licence else "") for name in names)
    return f"framework: {{name: Model Openness Framework}}\nrelease:\n  license: {common}\n  components:\n{items}"


@pytest.mark.parametrize("name", ["I", "II", "III"])
def test_the_class_is_the_highest_whose_components_are_all_open(tmp_path: Path, name: str):
    top = model(tmp_path / "a", "license: apache-2.0")
    (top / "mof.yml").write_text(listed(openness.CLASSES[name]))
    assert describe(top).mof_class == name
    (top / "mof.yml").write_text(listed(openness.CLASSES[name][1:]))
    lost = describe(top)
    assert lost.mof_class == name  # the architecture is evident: the code is transformers'
    (top / "mof.yml").write_text(listed(tuple(part for part in openness.CLASSES[name] if part != "Data card")))
    assert describe(top).mof_class == "unknown" and "Data card" in describe(top).mof_missing[name]


def test_a_research_paper_stands_for_the_technical_report(tmp_path: Path):
    top = model(tmp_path / "a", "license: apache-2.0")
    names = [part for part in openness.CLASSES["III"] if part != "Technical report"]
    (top / "mof.yml").write_text(listed((*names, "Research paper")))
    assert describe(top).mof_class == "III"


def test_a_component_without_a_licence_takes_the_releases(tmp_path: Path):
    top = model(tmp_path / "a", "license: apache-2.0")
    (top / "mof.yml").write_text(listed(("Training code",), "", "{distribution: {name: MIT, path: ''}}"))
    assert describe(top).parts["training code"] == "open"
    (top / "mof.yml").write_text(listed(("Training code",), ""))
    assert describe(top).parts["training code"] == "unknown"


def test_a_file_that_lists_open_weights_does_not_widen_a_closed_chain(tmp_path: Path):
    top = model(tmp_path / "a", "license: cc-by-nc-4.0")
    (top / "mof.yml").write_text(listed(openness.CLASSES["III"]))
    found = describe(top)
    assert (found.parts["weights"], found.mof_class, found.osaid) == ("restricted", "none", "no")


@pytest.mark.parametrize("text", ["", "release: 3", "a: [", "release: {components: 3}", "release:\n  components: [1]"])
def test_a_broken_list_of_components_declares_nothing(tmp_path: Path, text: str):
    top = model(tmp_path / "a", "license: mit")
    (top / "mof.yml").write_text(text)
    assert describe(top).parts["training code"] == "unknown"


@pytest.mark.parametrize(
    ("card", "body", "tokens"),
    [
        ("training_tokens: 2T", "", 2e12),
        ("training_tokens: 300000000000", "", 3e11),
        ("training_tokens: 1.5 trillion", "", 1.5e12),
        ("", "The model was trained on 15T tokens of public text.", 1.5e13),
        ("", "It was pre-trained from scratch on over 1.4 trillion tokens.", 1.4e12),
        ("", "Trained for 299,892,736,000 tokens in all.", 299_892_736_000),
        ("", "trained on a mixture of 100 billion high quality tokens", 1e11),
    ],
)
def test_training_tokens_are_read_from_the_card_and_quoted(tmp_path: Path, card: str, body: str, tokens: float):
    amount, source = training_tokens(model(tmp_path / "a", card, body))
    assert amount == pytest.approx(tokens)
    assert source.startswith("card: ")


@pytest.mark.parametrize(
    ("card", "body"),
    [
        ("training_tokens: many", ""),
        ("training_tokens: -5", ""),
        ("training_tokens: true", ""),
        ("training_tokens: .inf", ""),
        ("", "It was trained on 512 A100 GPUs. The context has 4096 tokens."),
        ("", "A tokenizer of 32000 tokens."),
    ],
)
def test_what_is_no_number_of_training_tokens_stays_unknown(tmp_path: Path, card: str, body: str):
    assert training_tokens(model(tmp_path / "a", card, body)) == (None, "the number of training tokens is not declared")


def test_compute_is_six_times_parameters_times_tokens_with_a_band(tmp_path: Path):
    found = compute(model(tmp_path / "a", "training_tokens: 15T", tensors={"w": [1_000_000, 1000]}))
    assert (found.parameters, found.tokens) == (10**9, 1.5e13)
    assert found.flop == pytest.approx(9e22)
    assert (found.low, found.high) == (found.flop / 2, found.flop * 2)
    assert [(limit, verdict) for limit, _, verdict in found.thresholds] == [
        (1e23, "within the band"), (1e25, "below"), (1e26, "below"),
    ]  # fmt: skip


@pytest.mark.parametrize(("tokens", "verdict"), [("8T", "below"), ("9T", "within the band"), ("34T", "above")])
def test_a_verdict_is_given_only_outside_the_band(tmp_path: Path, tokens: str, verdict: str):
    found = compute(model(tmp_path / "a", f"training_tokens: {tokens}", tensors={"w": [1_000_000, 1000]}))
    assert found.thresholds[0][2] == verdict


def test_the_training_of_the_base_is_added_or_makes_it_unknown(tmp_path: Path):
    model(tmp_path / "root", "training_tokens: 1T")
    top = model(tmp_path / "top", "base_model: maker/root\ntraining_tokens: 1B")
    assert compute(top).flop == pytest.approx(6e6 * (1e12 + 1e9))
    model(tmp_path / "root", "")
    assert compute(top).flop is None and "its base maker/root is not known" in compute(top).source


def test_of_experts_only_those_that_are_chosen_count(tmp_path: Path):
    tensors = {"embed.weight": [100, 10], **{f"l.0.mlp.experts.{i}.w": [10, 10] for i in range(8)}}
    top = model(tmp_path / "a", tensors=tensors, num_local_experts=8, num_experts_per_tok=2)
    assert active_parameters(top) == 1000 + 200


def test_packed_weights_do_not_tell_their_number(tmp_path: Path):
    assert active_parameters(model(tmp_path / "a", quantization_config={"bits": 4})) is None
    found = compute(model(tmp_path / "b", "training_tokens: 1T", quantization_config={"bits": 4}))
    assert (found.flop, found.source) == (None, "N is not known")


def test_a_person_is_told_in_lines(tmp_path: Path):
    top = model(tmp_path / "a", OPEN + "training_tokens: 1T\npublisher: Us\ncountry: FR")
    said = "\n".join(openness_lines(describe(top)))
    assert "licence       apache-2.0; commercial use: yes (OSI-approved, with a grant of patents)" in said
    assert "weights open, inference code open, training code open, data open, data information open" in said
    assert "evaluation code unknown" in said and "Open Source AI Definition: yes" in said
    assert "6.0e+18 FLOP (6·N·D, 3.0e+18 to 1.2e+19), card: training_tokens: 1T" in said
    assert "below 1e+26, US: reporting under Order 14110, revoked in January 2025: history" in said
    assert "publisher     Us; country FR" in said
    silent = "\n".join(openness_lines(describe(model(tmp_path / "b", "base_model: x/y"))))
    assert "made from     b (unknown) <- x/y (unknown)" in silent and "training      unknown:" in silent


def test_the_estimate_agrees_with_published_ones():
    """Llama 3.1 8B and 405B on 15 T tokens, Pythia 12B on 300 B: published as 7e23, 3.8e25 and 2.1e22."""
    for n, d, published in ((8.03e9, 15e12, 7e23), (405e9, 15.6e12, 3.8e25), (11.8e9, 300e9, 2.1e22)):
        assert 6 * n * d == pytest.approx(published, rel=0.05)


def test_the_card_of_the_demo_models_is_open_in_every_part(tmp_path: Path):
    source = (Path(openness.__file__).parents[1] / "demo" / "train.py").read_text(encoding="utf-8")
    front = re.search(r'CARD = """\\\n---\n(.*?)\n---\n', source, re.DOTALL)
    assert front is not None
    found = describe(model(tmp_path / "demo", front[1]))
    assert set(found.parts.values()) == {"open"} and found.osaid == "yes" and found.commercial == "yes"
