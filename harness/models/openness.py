"""How free a model is to use, how open it is, and how much computing went into it: from what its files declare.

    describe(folder) -> Openness(licence, commercial, chain, components, mof_class, osaid, compute, ...)

Everything is read from the folder: the model card's front matter, LICENSE, and the released components with their
licences, from `mof.yml` (the file format of the Model Openness Tool) or from `components:` of the front matter. What is
not declared is `unknown`, which is not the same as `absent`. None of it is legal advice; the reasons say what was read.

Sources: Model Openness Framework 1.0 (classes I to III), Open Source AI Definition 1.0, Regulation (EU) 2024/1689
Art. 51(2), Commission guidelines C(2025) 7719, US Executive Order 14110.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.config.model import ModelConfig
from harness.config.yaml_file import read_yaml
from harness.errors import ConfigError, HarnessError
from harness.models.find import DEMO
from harness.models.info import front_matter
from harness.models.licences import SEVERITY, Commercial, recognised, terms
from harness.models.sizes import active_parameters

State = Literal["open", "restricted", "absent", "unknown"]


# --- licences --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """One model of a chain: the model itself, what it was made from, and so on."""

    name: str
    licence: str | None
    commercial: Commercial
    reason: str


def chain(folder: Path) -> tuple[Link, ...]:
    """Returns the licences of a model and of all it was made from, as far as folders on this machine tell."""
    return tuple(_links(folder.resolve(), folder.resolve().name, frozenset()))


def _links(folder: Path, name: str, seen: frozenset[Path]) -> Iterator[Link]:
    card = front_matter(folder / "README.md")
    yield _link(folder, name, card)
    for base in _bases(card):
        found = _local(base, folder)
        if found is None:
            why = "its card is not on this machine: get the model, or read its licence on its page"
            yield Link(base, None, "unknown", why)
        elif found not in seen | {folder}:
            yield from _links(found, base, seen | {folder})


def _link(folder: Path, name: str, card: Mapping[str, object]) -> Link:
    declared, written = _declared_licence(card), _written_licence(folder)
    known = terms(declared or written)
    if declared and written and SEVERITY.index(terms(written).commercial) > SEVERITY.index(known.commercial):
        reason = f"the card says {declared}, its LICENSE file reads like {written}: {terms(written).reason}"
        return Link(name, written, terms(written).commercial, reason)
    source = "" if declared or not written else " (by its LICENSE file; the card declares none)"
    return Link(name, declared or written, known.commercial, known.reason + source)


def _declared_licence(card: Mapping[str, object]) -> str | None:
    """Returns the licence of a card. Of several the first that decides: the most restrictive."""
    found = card.get("license")
    if found in ("other", None):
        return _text(card.get("license_name")) or _text(found)
    several = [str(each) for each in found] if isinstance(found, list) else [str(found)]
    return max(several, key=lambda each: SEVERITY.index(terms(each).commercial), default=None)


def _written_licence(folder: Path) -> str | None:
    for file in sorted([*folder.glob("LICENSE*"), *folder.glob("LICENCE*")]):
        if file.is_file():
            return recognised(file.read_text(encoding="utf-8", errors="replace")[:20_000])
    return None


def _bases(card: Mapping[str, object]) -> list[str]:
    found = card.get("base_model")
    return [str(each) for each in (found if isinstance(found, list) else [found]) if each]


def _local(base: str, folder: Path) -> Path | None:
    """Returns the folder of a base model on this machine: beside this one, a demo model, or in the hub's cache."""
    if not re.fullmatch(r"\w[\w.-]*(?:/\w[\w.-]*)?", base):
        return None
    short = base.rpartition("/")[2]
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{base.replace('/', '--')}" / "snapshots"
    cached = sorted(cache.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
    places = [folder.parent / base, folder.parent / short, folder.parent.parent / base, DEMO / short, *cached]
    return next((place.resolve() for place in places if (place / "README.md").is_file()), None)


def weakest(links: Sequence[Link]) -> Link:
    """Returns the link that decides: the one that allows least."""
    return max(links, key=lambda link: SEVERITY.index(link.commercial))


# --- components ------------------------------------------------------------------------------------------------------

# Names as in the Model Openness Tool's files -> what kind of licence makes them open.
COMPONENTS: Mapping[str, Literal["code", "content"]] = {
    "Model architecture": "code",
    "Model parameters (Final)": "content",
    "Model card": "content",
    "Data card": "content",
    "Technical report": "content",
    "Evaluation results": "content",
    "Training code": "code",
    "Inference code": "code",
    "Evaluation code": "code",
    "Evaluation data": "content",
    "Datasets": "content",
    "Data preprocessing code": "code",
    "Model parameters (Intermediate)": "content",
    "Research paper": "content",
}
_III = ("Model architecture", "Model parameters (Final)", "Model card", "Data card", "Technical report",
        "Evaluation results")  # fmt: skip
_II = (*_III, "Training code", "Inference code", "Evaluation code", "Evaluation data")
_I = (*_II, "Datasets", "Data preprocessing code", "Model parameters (Intermediate)", "Research paper")
CLASSES: Mapping[str, tuple[str, ...]] = {"I": _I, "II": _II, "III": _III}  # each holds all of the next
SHOWN: Mapping[str, tuple[str, ...]] = {
    "weights": ("Model parameters (Final)",),
    "inference code": ("Inference code",),
    "training code": ("Training code",),
    "data": ("Datasets",),
    "data information": ("Data card", "Datasets"),  # the data themselves tell as much
    "evaluation code": ("Evaluation code",),
}
REQUIRED = ("weights", "inference code", "training code", "data information")  # by the Open Source AI Definition


def components(folder: Path, weights: Link) -> dict[str, State]:
    """Returns the state of every component, as declared in mof.yml or evident from the folder."""
    found: dict[str, State] = dict.fromkeys(COMPONENTS, "unknown")
    card = front_matter(folder / "README.md")
    found["Model parameters (Final)"] = _state("content", weights.licence)
    if card:
        found["Model card"] = _state("content", _declared_licence(card))
    if _runs_in_transformers(folder):
        found["Model architecture"] = found["Inference code"] = "open"  # transformers' own code, Apache-2.0
    for name, licence in _listed(folder).items():
        state = _state(COMPONENTS[name], licence)
        if name != "Model parameters (Final)" or state != "open":  # a chain's licence is not widened by its last link
            found[name] = state
    if found["Technical report"] != "open" and found["Research paper"] == "open":
        found["Technical report"] = "open"  # the framework takes the paper in its place
    return found


def _state(kind: str, licence: str | None) -> State:
    if licence == "absent":
        return "absent"
    known = terms(licence)
    if known.osi or (known.content and kind == "content"):
        return "open"
    return "unknown" if known.commercial == "unknown" else "restricted"


def _runs_in_transformers(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "model_type" in config and "auto_map" not in config


def _listed(folder: Path) -> dict[str, str | None]:
    """Returns the licence of each component that is declared, `absent` for one declared as not released.

    In mof.yml a component without a licence falls back on the release's.
    """
    file = next((path for path in (folder / "mof.yml", folder / "MOF.yml") if path.is_file()), None)
    if file is None:
        own = front_matter(folder / "README.md").get("components")
        return {name: _text(own[name]) for name in COMPONENTS if name in own} if isinstance(own, Mapping) else {}
    try:
        release = read_yaml(file).data.get("release")
    except HarnessError:
        return {}  # it declares nothing that can be read
    release = release if isinstance(release, Mapping) else {}
    stated = release.get("license")
    common = stated if isinstance(stated, Mapping) else {}
    of_kind = {"code": ("code", "distribution"), "content": ("data", "document", "distribution")}
    listed = {}
    items = release.get("components")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping) and (name := str(item.get("name"))) in COMPONENTS:
            fallback = (
                common[key].get("name") for key in of_kind[COMPONENTS[name]] if isinstance(common.get(key), Mapping)
            )
            listed[name] = _text(item.get("license")) or next(map(_text, fallback), None)
    return listed


def mof_class(found: Mapping[str, State]) -> str:
    """Returns I (all of the science), II (all of the tools), III (the model), `none`, or `unknown`."""
    for name, needed in CLASSES.items():
        if all(found[part] == "open" for part in needed):
            return name
    return "none" if any(found[part] in ("restricted", "absent") for part in _III) else "unknown"


def osaid(shown: Mapping[str, State]) -> Literal["yes", "no", "unknown"]:
    """Returns whether a model meets the Open Source AI Definition, as far as its files tell."""
    states = [shown[part] for part in REQUIRED]
    if all(state == "open" for state in states):
        return "yes"
    return "no" if any(state in ("restricted", "absent") for state in states) else "unknown"


def _shown(found: Mapping[str, State]) -> dict[str, State]:
    """Returns the state of each part that is printed: the best of the components that count for it."""
    best: tuple[State, ...] = ("open", "restricted", "absent", "unknown")
    return {part: min((found[name] for name in names), key=best.index) for part, names in SHOWN.items()}


# --- computing -------------------------------------------------------------------------------------------------------

THRESHOLDS: tuple[tuple[float, str], ...] = (
    (1e23, "EU: indicative of a general-purpose model (guidelines C(2025) 7719)"),
    (1e25, "EU: systemic risk is presumed (AI Act, Art. 51(2))"),
    (1e26, "US: reporting under Order 14110, revoked in January 2025: history"),
)
BAND = 2.0  # 6·N·D is taken to be right within this factor
_SIZES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "billion": 1e9, "t": 1e12, "trillion": 1e12}
_TRAINED = re.compile(
    r"[^.\n|]*?\btrained\s+(?:\w+\s+){0,3}?(?:on|for|with|over)\s+(?:\w+\s+){0,4}?"
    r"~?(?P<number>\d[\d,]*(?:\.\d+)?)\s*(?P<size>[KMBT]\b|thousand|million|billion|trillion)?"
    r"\s*(?:\w+\s+){0,3}?tokens\b[^.\n|]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Compute:
    """Operations of training, 6·N·D: about, within BAND. None and a reason where a part of it is not declared."""

    flop: float | None
    low: float | None
    high: float | None
    parameters: int | None  # N: used for each token
    tokens: float | None  # D
    source: str  # of D, quoted; or why there is no estimate
    thresholds: tuple[tuple[float, str, str], ...]  # FLOP, what it is, and below | within the band | above


def compute(folder: Path) -> Compute:
    """Returns the estimate for a model, what it was made from included."""
    return _compute(folder.resolve(), frozenset())


def _compute(folder: Path, seen: frozenset[Path]) -> Compute:
    parameters, (tokens, source) = active_parameters(folder), training_tokens(folder)
    if parameters is None or tokens is None:
        return Compute(None, None, None, parameters, tokens, source if tokens is None else "N is not known", ())
    flop = 6.0 * parameters * tokens
    for base in _bases(front_matter(folder / "README.md")):
        found = _local(base, folder)
        before = None if found is None or found in seen | {folder} else _compute(found, seen | {folder}).flop
        if before is None:
            return Compute(None, None, None, parameters, tokens, f"the training of its base {base} is not known", ())
        flop += before
    low, high = flop / BAND, flop * BAND
    verdicts = (
        (limit, what, "below" if high < limit else "above" if low > limit else "within the band")
        for limit, what in THRESHOLDS
    )
    return Compute(flop, low, high, parameters, tokens, source, tuple(verdicts))


def training_tokens(folder: Path) -> tuple[float | None, str]:
    """Returns how many tokens a model was trained on by its card, and the words that say so; or None and why."""
    card = folder / "README.md"
    declared = front_matter(card).get("training_tokens")
    if (amount := _amount(declared)) is not None:
        return amount, f"card: training_tokens: {declared}"
    if card.is_file():
        body = card.read_text(encoding="utf-8", errors="replace")[:100_000]
        if found := _TRAINED.search(body):
            size = _SIZES[(found["size"] or "").lower()] if found["size"] else 1.0
            return float(found["number"].replace(",", "")) * size, f"card: “{found[0].strip()[:160]}”"
    return None, "the number of training tokens is not declared"


def _amount(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    found = re.fullmatch(r"(\d[\d,]*(?:\.\d+)?)\s*([a-z]*)", value.strip().lower()) if isinstance(value, str) else None
    if found is None or (found[2] and found[2] not in _SIZES):
        return None
    return float(found[1].replace(",", "")) * (_SIZES[found[2]] if found[2] else 1.0)


# --- all of it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Openness:
    """What a model's files declare of its freedom, openness and origin."""

    licence: str | None  # of the link that decides
    commercial: Commercial
    reason: str
    chain: tuple[Link, ...]
    parts: Mapping[str, State]  # weights, inference code, training code, data, data information, evaluation code
    mof_class: str
    mof_missing: Mapping[str, tuple[str, ...]]  # by class, what is not open or not known
    osaid: Literal["yes", "no", "unknown"]
    publisher: str | None
    country: str | None
    compute: Compute


def describe(folder: Path) -> Openness:
    """Returns what the files of a model folder declare."""
    links = chain(folder)
    decides = weakest(links)
    found = components(folder, decides)
    shown = _shown(found)
    card = front_matter(folder / "README.md")
    named = re.search(r"models--([\w.-]+?)--", str(folder.resolve()))
    return Openness(
        licence=decides.licence,
        commercial=decides.commercial,
        reason=decides.reason if len(links) == 1 else f"{decides.name}: {decides.reason}",
        chain=links,
        parts=shown,
        mof_class=mof_class(found),
        mof_missing={name: tuple(p for p in parts if found[p] != "open") for name, parts in CLASSES.items()},
        osaid=osaid(shown),
        publisher=_text(card.get("publisher")) or (named[1] if named else None),
        country=_text(card.get("country")),
        compute=compute(folder),
    )


def with_stated(known: Openness, config: ModelConfig) -> Openness:
    """Returns what is known of a model with what its entry states, where its files are silent.

    Raises ConfigError for a licence that the files contradict.
    """
    found, own = known, known.chain[0]
    if config.licence is not None and own.licence is None:
        chain = (_stated_link(own.name, config), *known.chain[1:])
        decides = weakest(chain)
        told = replace(found, licence=decides.licence, commercial=decides.commercial, reason=decides.reason)
        found = replace(told, chain=chain)
    elif config.licence is not None and own.licence is not None and own.licence.lower() != config.licence.lower():
        what = f"its files declare the licence {own.licence}, and its entry states {config.licence}"
        fix = "leave `licence` out: it is for a model whose folder is silent"
        raise ConfigError(what, where=f"model {config.name}", fix=fix)
    return replace(found, publisher=found.publisher or config.provenance)


def _stated_link(name: str, config: ModelConfig) -> Link:
    """Returns what the licence means that a model's entry states."""
    known = terms(config.licence)
    by = f", accepted by {config.accepted_by}" if config.accepted_by else ""
    return Link(name, config.licence, known.commercial, f"{known.reason} (stated in the run file{by})")


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int | float) and str(value).strip() else None
