"""What a model in this process can do and where it runs, told without torch."""

from __future__ import annotations

from harness.backends.base import Capabilities
from harness.config.model import LocalModel
from harness.security.egress import HERE, Place


class LocalAbout:
    """What `TransformersBackend` says before it is loaded."""

    @classmethod
    def capabilities(cls, config: LocalModel) -> Capabilities:
        """Returns all that there is: messages too, but with the template that its own folder has."""
        return Capabilities(loglikelihood=True, rolling=True, grammars=True, load=True, weights=True)

    @classmethod
    def place(cls, config: LocalModel) -> Place:
        """Returns this machine."""
        return HERE
