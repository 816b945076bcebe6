"""What may go where, and which models may be used at all.

    refuse_egress(places, tasks, allowed)     at every plan: sensitive data and the places it would be sent to
    broken(policy, models, tasks, unsealed)   at `harness check --policy`: a house's own rules

Sensitivity travels with the data. `restricted` never leaves the machine, whatever a run file or command line says;
`internal` leaves it only for hosts that the run file names; `public` may go anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from harness.config.base import Name, Strict, validate
from harness.config.files import find_file
from harness.config.model import LocalModel, ModelConfig
from harness.config.task import TaskConfig
from harness.config.yaml_file import read_yaml
from harness.errors import ConfigError, PolicyError, nearest
from harness.models.licences import LICENCES, SEVERITY, terms
from harness.models.openness import Openness
from harness.models.safety import PICKLES
from harness.security.egress import FILE, Place
from harness.values import SENSITIVITIES, Sensitivity


def refuse_egress(
    places: Mapping[str, Place], tasks: Sequence[TaskConfig], allowed: Sequence[str], role: str = "model"
) -> None:
    """Raises PolicyError, naming task and model (or judge: its `role`), if data would go where they may not.

    `places` are where the models are asked, by name.
    `allowed` are the host names that the run file allows for internal data. A server on a loopback address counts as
    this machine: what it does with the data is its owner's business.
    """
    for model, place in places.items():
        host = place.egress
        if host is None:
            continue
        for task in tasks:
            where = f"{role} {model} is asked at {host}"
            if task.sensitivity == "restricted":
                what = f"task '{task.task}' is restricted: it never leaves this machine"
                fix = f"use a {role} on this machine; no setting overrides this"
                raise PolicyError(what, where=where, fix=fix)
            if task.sensitivity == "internal" and host not in allowed:
                what = f"task '{task.task}' is internal, and the run does not allow {host}"
                raise PolicyError(
                    what, where=where, fix=f"add to the run file, if it may go there: allow_egress: [{host}]"
                )


def refuse_unsealed(
    restricted: Sequence[str], places: Mapping[str, Place], unsealed: str, accepted: Sequence[str], elsewhere: str = ""
) -> None:
    """Raises PolicyError where restricted tasks would be asked by a process that nothing keeps off the network.

    `places` are where the models are asked, `unsealed` why there is no seal; empty: there is one. Engines on this
    machine are asked over its own network, which a seal shuts: a run of those alone may go without for the tasks that
    it has `accepted` by name. `elsewhere` is what to do where this machine has no seal.
    """
    engines = any(place.served_here for place in places.values()) and all(
        place.served_here or place == FILE for place in places.values()
    )
    left = [task for task in restricted if not (engines and task in accepted)]
    if not left or not unsealed:
        return
    named = f"task '{left[0]}' is" if len(left) == 1 else f"tasks {', '.join(left)} are"
    what = f"{named} restricted, and nothing would keep the data on this machine: no seal ({unsealed})"
    fix = elsewhere or "run it sealed: without --no-seal, in Python with seal=True"
    if engines:
        fix = f"if the engine may be asked without a seal, add to the run file: accept_unsealed: [{', '.join(left)}]"
    raise PolicyError(what, where=", ".join(f"model {name}" for name in places), fix=fix)


# --- a house's own rules ---------------------------------------------------------------------------------------------


class PolicyConfig(Strict):
    """What a house allows. A rule that is not given allows everything, beyond what `refuse_egress` refuses anyway."""

    policy: Name  # its name
    licences: tuple[str, ...] | None = None  # of a model and all it was made from, by the hub's or SPDX's identifier
    commercial: Literal["yes", "conditional"] | None = None  # the least that the licences must allow
    formats: tuple[str, ...] | None = None  # of weight files, by suffix: safetensors
    publishers: tuple[str, ...] | None = None  # as declared, or as the hub's folder names them
    remote_code: bool = True  # false: no model may bring Python code of its own
    egress: Mapping[Sensitivity, tuple[Annotated[str, Field(min_length=1)], ...]] | None = None  # hosts, by level
    max_sensitivity: Sensitivity = "restricted"  # of the tasks that may be run here at all
    require_seal: bool = False  # every run must be able to do without a network

    @field_validator("licences")
    @classmethod
    def _licences_are_known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if name not in LICENCES:
                hint = {"name": name, "hint": nearest(name, LICENCES)}
                raise PydanticCustomError("licence", "no licence '{name}' in our table; {hint}", hint)
        return value


@dataclass(frozen=True, slots=True)
class Used:
    """A model as a policy sees it."""

    config: ModelConfig
    files: tuple[str, ...]  # names in its folder
    openness: Openness | None  # None: no folder
    place: Place


def read_policy(name: str) -> PolicyConfig:
    """Returns the policy of a file, or of a bundled one by name. Raises ConfigError."""
    try:
        path = find_file(name, "configs", "policies")
    except ConfigError as error:
        raise ConfigError(f"no policy '{name}'", fix=error.fix) from None
    return validate(PolicyConfig, read_yaml(path).data, str(path))


def broken(
    policy: PolicyConfig, models: Sequence[Used], tasks: Sequence[TaskConfig], unsealed: str = ""
) -> tuple[str, ...]:
    """Returns what of a plan breaks a policy, a line each; none if it keeps it. `unsealed`: why it has no seal."""
    found = [
        line for model in models for line in (*_model_breaks(policy, model), *_egress_breaks(policy, model, tasks))
    ]
    found += [
        f"task {task.task}: {task.sensitivity}, and {policy.max_sensitivity} is the most that may be run here"
        for task in tasks
        if SENSITIVITIES.index(task.sensitivity) > SENSITIVITIES.index(policy.max_sensitivity)
    ]
    if policy.require_seal and unsealed:
        found.append(f"the run could not be sealed: {unsealed}")
    return tuple(found)


def _model_breaks(policy: PolicyConfig, model: Used) -> Iterator[str]:
    name, known = f"model {model.config.name}", model.openness
    if isinstance(model.config, LocalModel) and model.config.trust_remote_code and not policy.remote_code:
        yield f"{name}: it runs code of its own (trust_remote_code)"
    stated = None if known is not None or model.config.licence is None else terms(model.config.licence)
    if known is None:
        # a server's weights cannot be looked at; a host that the policy names is allowed as it is
        named = {each for hosts in (policy.egress or {}).values() for each in hosts}
        told = {"licences", "commercial"} if stated is not None else set()
        told |= {"publishers"} if model.config.provenance is not None else set()
        named_rules = ("licences", "commercial", "formats", "publishers")
        rules = [rule for rule in named_rules if getattr(policy, rule) is not None and rule not in told]
        yield from _stated_breaks(policy, model.config)
        if model.place.asked is not None and rules and model.place.egress not in named:
            yield f"{name}: its {', '.join(rules)} cannot be told: it is asked at a server"
        return
    if policy.licences is not None:
        for link in known.chain:
            if link.licence is None or link.licence.lower() not in policy.licences:
                made = "" if link is known.chain[0] else f" (of {link.name}, which it was made from)"
                yield f"{name}: licence {link.licence or 'unknown'}{made} is not among those allowed"
    if policy.commercial is not None and SEVERITY.index(known.commercial) > SEVERITY.index(policy.commercial):
        yield f"{name}: commercial use is {known.commercial}: {known.reason}"
    if policy.publishers is not None and known.publisher not in policy.publishers:
        yield f"{name}: publisher {known.publisher or 'unknown'} is not among those allowed"
    if policy.formats is not None:
        for file in model.files:
            suffix = Path(file).suffix.lower()
            if suffix in (".safetensors", ".gguf", *PICKLES) and suffix[1:] not in policy.formats:
                yield f"{name}: {file} is in a format that is not allowed"


def _stated_breaks(policy: PolicyConfig, config: ModelConfig) -> Iterator[str]:
    """Yields what of that breaks a policy which the entry of a model states whose files nobody here has."""
    name, licence, made = f"model {config.name}", config.licence, config.provenance
    if licence is not None and policy.licences is not None and licence.lower() not in policy.licences:
        yield f"{name}: licence {licence} (stated) is not among those allowed"
    known = terms(licence)
    too_little = policy.commercial and SEVERITY.index(known.commercial) > SEVERITY.index(policy.commercial)
    if licence is not None and too_little:
        yield f"{name}: commercial use is {known.commercial}: {known.reason} (stated)"
    if made is not None and policy.publishers is not None and made not in policy.publishers:
        yield f"{name}: publisher {made} (stated) is not among those allowed"


def verdicts(policy: PolicyConfig, models: Sequence[Used], tasks: Sequence[TaskConfig], sealed: str) -> tuple[str, ...]:
    """Returns how each rule of a policy is kept that a run keeps, a line each, with what was looked at."""

    def each(what: Callable[[Used], object]) -> str:
        return ", ".join(f"{model.config.name} {what(model) or 'not told'}" for model in models)

    def licence(model: Used) -> str | None:
        stated = f"{model.config.licence} (stated)" if model.config.licence else None
        return stated or (None if model.openness is None else model.openness.licence)

    def commercial(model: Used) -> str | None:
        stated = terms(model.config.licence).commercial if model.config.licence else None
        return stated if model.openness is None else model.openness.commercial

    def made_by(model: Used) -> str | None:
        return model.config.provenance if model.openness is None else model.openness.publisher

    most = max((task.sensitivity for task in tasks), key=SENSITIVITIES.index, default="public")
    rules: dict[str, tuple[bool, str]] = {
        "licences": (policy.licences is not None, each(licence)),
        "commercial": (policy.commercial is not None, each(commercial)),
        "formats": (policy.formats is not None, each(lambda m: "as allowed" if m.openness else None)),
        "publishers": (policy.publishers is not None, each(made_by)),
        "remote_code": (not policy.remote_code, "none runs"),
        "egress": (policy.egress is not None, each(lambda model: model.place.egress or "nothing leaves")),
        "max_sensitivity": (policy.max_sensitivity != SENSITIVITIES[-1], f"at most {most}"),
        "require_seal": (policy.require_seal, sealed),
    }
    return tuple(f"{rule}: {seen}" for rule, (given, seen) in rules.items() if given)


def _egress_breaks(policy: PolicyConfig, model: Used, tasks: Sequence[TaskConfig]) -> Iterator[str]:
    host = model.place.egress
    if host is None or policy.egress is None:
        return
    for task in tasks:
        if host not in policy.egress.get(task.sensitivity, ()):
            yield f"model {model.config.name}: {task.sensitivity} data (task {task.task}) may not go to {host}"
