"""What may go where, and which models may be used at all.

    refuse_egress(models, tasks, allowed)    at every plan: sensitive data and the places it would be sent to
    read_policy(path), broken(policy, ...)   at `harness check --policy`: a house's own rules

Sensitivity travels with the data. `restricted` never leaves the machine, whatever a run file or command line says;
`internal` leaves it only for hosts that the run file names; `public` may go anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.backends.remote import egress
from harness.config import ModelConfig, TaskConfig
from harness.errors import PolicyError


def refuse_egress(models: Sequence[ModelConfig], tasks: Sequence[TaskConfig], allowed: Sequence[str]) -> None:
    """Raises PolicyError, naming task and model, if data would be sent where its sensitivity does not let it.

    `allowed` are the host names that the run file allows for internal data. A server on a loopback address counts as
    this machine: what it does with the data is its owner's business.
    """
    for model in models:
        host = egress(model)
        if host is None:
            continue
        for task in tasks:
            where = f"model {model.name} is asked at {host}"
            if task.sensitivity == "restricted":
                what = f"task '{task.task}' is restricted: it never leaves this machine"
                raise PolicyError(what, where=where, fix="use models on this machine; no setting overrides this")
            if task.sensitivity == "internal" and host not in allowed:
                what = f"task '{task.task}' is internal, and the run does not allow {host}"
                raise PolicyError(
                    what, where=where, fix=f"add to the run file, if it may go there: allow_egress: [{host}]"
                )
