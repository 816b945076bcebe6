"""What a run must keep before it may begin: restricted data under a seal, and a house's policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from harness.config.run import RunConfig
from harness.config.task import TaskConfig
from harness.errors import PolicyError
from harness.models.openness import describe, with_stated
from harness.runs.planned_model import PlannedModel
from harness.security.policy import PolicyConfig, Used, broken, read_policy, refuse_unsealed, verdicts
from harness.security.seal import Seal
from harness.store.schema import PolicyKept
from harness.tasks.rows import digest

SHOWN = 5  # breaks of a policy that a message names


class Planned(Protocol):
    """What is known of a run, or of a benchmark, before it begins."""

    @property
    def config(self) -> RunConfig: ...

    @property
    def asked(self) -> Sequence[tuple[PlannedModel, Sequence[TaskConfig]]]: ...


def admitted(plan: Planned, sealed: Seal) -> PolicyKept | None:
    """Returns the policy that a run keeps, if it names one. Raises PolicyError for one that may not begin as it is."""
    config = plan.config
    tasks = {task.task: task for _, each in plan.asked for task in each}
    unsealed = sealed.reason or "nothing keeps it off the network" if sealed.kind == "none" else ""
    places = {model.config.name: model.place for model, _ in plan.asked}
    restricted = [name for name, task in tasks.items() if task.sensitivity == "restricted"]
    refuse_unsealed(restricted, places, unsealed, config.accept_unsealed, sealed.fix)
    if config.policy is None:
        return None
    policy = read_policy(config.policy)
    if breaks := breaks_of(policy, plan, unsealed):
        more = f"; and {len(breaks) - SHOWN} more" if len(breaks) > SHOWN else ""
        what = f"the run breaks policy {policy.policy}: {'; '.join(breaks[:SHOWN])}{more}"
        fix = "change the run so that it keeps it; `harness check --policy` says all that breaks it"
        raise PolicyError(what, where=f"run {config.run}", fix=fix)
    models = [used(model) for model, _ in plan.asked]
    return PolicyKept(policy.policy, policy_digest(policy), verdicts(policy, models, list(tasks.values()), str(sealed)))


def policy_digest(policy: PolicyConfig) -> str:
    """Returns the digest of all rules of a policy."""
    return digest(policy.model_dump(mode="json"))


def identity_of(config: RunConfig) -> Mapping[str, str]:
    """Returns what a policy adds to a plan's identity: a run goes on under the policy it was begun under."""
    return {} if config.policy is None else {"policy": policy_digest(read_policy(config.policy))}


def breaks_of(policy: PolicyConfig, plan: Planned, unsealed: str) -> tuple[str, ...]:
    """Returns what of a plan breaks a policy. A judge sees the tasks that it scores, and no others."""
    found = (line for model, tasks in plan.asked for line in broken(policy, [used(model)], tasks, unsealed))
    return tuple(dict.fromkeys(found))


def used(model: PlannedModel) -> Used:
    """Returns a model as a policy sees it."""
    about = None if model.info is None else with_stated(describe(Path(str(model.config.tokenizer))), model.config)
    return Used(model.config, tuple(model.files), about, model.place)
