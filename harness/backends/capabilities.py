"""Where a request goes and what may go with it: addresses and keys. Loads no SDK.

A backend sends to one host and port, that of its `base_url`, through the `proxy` its settings name and no other. A
redirect is an error, not another host; a certificate is always checked, against the system's or those of `ca_file`. The
key is read when a request is sent, from its environment variable or from a command such as a keyring's, and put into
that request only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.security.egress import PROVIDERS, server

if TYPE_CHECKING:
    from harness.config.model import ModelConfig


def takes_messages(config: ModelConfig) -> bool:
    """Returns whether a model is asked by messages, for which its server has the template."""
    return config.backend in PROVIDERS and (config.api == "chat" or config.backend != "openai")


def can_score(config: ModelConfig, *, rolling: bool = False) -> bool:
    """Returns whether a model may be asked for the log-probability of given text; of any length, if `rolling`.

    Servers behind `api: completions` may; the first request shows whether this one does. A provider's own never does.
    Recorded answers may hold log-probabilities; their first request shows it. Windows need the model's own tokens.
    """
    if rolling:
        return config.backend in {"transformers", "fake"}
    if config.backend == "openai":
        return config.api == "completions" and server(config).host != urlsplit(PROVIDERS["openai"].url).hostname
    return config.backend not in PROVIDERS


def can_write(config: ModelConfig) -> frozenset[str]:
    """Returns what a task may ask of a server about the writing of an answer, beside stop strings and sampling.

    `schema`, `regex` and `choices` are forms; `switch` and `budget` are of thinking. An open server may still ignore
    what it is asked: the metric `valid_output` tells whether answers have their form.
    """
    if config.backend == "openai":
        open_server = not server(config).own
        chat = config.api == "chat"
        return frozenset(
            {"logprobs"}
            | ({"schema"} if chat or open_server else set())
            | ({"regex", "choices"} if open_server else set())
            | ({"switch"} if chat and open_server else set())
            | (set() if chat else {"prefill"})
        )
    return _WRITING.get(config.backend, frozenset())


_WRITING = {
    "anthropic": frozenset({"schema", "switch", "budget"}),
    "google": frozenset({"schema", "choices", "switch", "budget", "logprobs"}),
}
