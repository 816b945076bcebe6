"""What models behind a network interface can do and where they are asked, told without any SDK.

An open server may still ignore what it is asked of the writing of an answer: the metric `valid_output` tells whether
answers have their form.
"""

from __future__ import annotations

from harness.backends.base import Ask, Capabilities
from harness.config.model import RemoteModel
from harness.security.egress import Place, place_of, server


class RemoteAbout:
    """What all of them have in common."""

    @classmethod
    def place(cls, config: RemoteModel) -> Place:
        """Returns the host that is asked. Raises ConfigError for an address that cannot be used, or is not safe."""
        return place_of(config)


class OpenAIAbout(RemoteAbout):
    """What `OpenAIBackend` says before it is made."""

    @classmethod
    def capabilities(cls, config: RemoteModel) -> Capabilities:
        """Returns what OpenAI's own address takes, or what open servers do.

        The log-probability of given text is told by servers behind `api: completions`; the first request shows whether
        this one does. OpenAI's own never does.
        """
        open_server, chat = not server(config).own, config.api == "chat"
        writing: set[Ask] = {"logprobs"}
        if chat or open_server:
            writing.add("schema")
        if open_server:
            writing |= {"regex", "choices"}
        if chat and open_server:
            writing.add("switch")
        if not chat:
            writing.add("prefill")
        tells = not chat and open_server
        return Capabilities(loglikelihood=tells, messages=chat, writing=frozenset(writing), load=True)


class AnthropicAbout(RemoteAbout):
    """What `AnthropicBackend` says before it is made."""

    @classmethod
    def capabilities(cls, config: RemoteModel) -> Capabilities:
        """Returns what the Messages interface has words for."""
        return Capabilities(loglikelihood=False, messages=True, writing=frozenset({"schema", "switch", "budget"}))


class GoogleAbout(RemoteAbout):
    """What `GoogleBackend` says before it is made."""

    @classmethod
    def capabilities(cls, config: RemoteModel) -> Capabilities:
        """Returns what the Gemini interface has words for."""
        writing: set[Ask] = {"schema", "choices", "switch", "budget", "logprobs"}
        return Capabilities(loglikelihood=False, messages=True, writing=frozenset(writing))
