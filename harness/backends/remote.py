"""Where a request goes and what may go with it: addresses and keys. Loads no SDK.

A backend sends to one host and port, that of its `base_url`. A redirect is an error, not another host; proxies of the
environment are not read; a certificate is always checked. The key is read from its environment variable each time a
request is sent, and put into that request only.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.errors import BackendError, ConfigError, PolicyError
from harness.secrets import is_secret, redact

if TYPE_CHECKING:
    from harness.config import ModelConfig

THIS_MACHINE = "this machine"


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider's own address is, which variable holds its key, and in which header the key goes."""

    url: str
    key_env: str
    header: str
    prefix: str = ""  # before the key in the header


PROVIDERS = MappingProxyType(
    {
        "openai": Provider("https://api.openai.com/v1", "OPENAI_API_KEY", "authorization", "Bearer "),
        "anthropic": Provider("https://api.anthropic.com", "ANTHROPIC_API_KEY", "x-api-key"),
        "google": Provider("https://generativelanguage.googleapis.com", "GEMINI_API_KEY", "x-goog-api-key"),
    }
)

# Headers of a request that are sent. The SDKs add some of their own, on this machine and from the environment.
SENT = frozenset(
    {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
        "transfer-encoding",
        "user-agent",
        "anthropic-version",
        "anthropic-beta",
    }
)


@dataclass(frozen=True, slots=True)
class Server:
    """The one place a backend sends to."""

    url: str
    host: str
    port: int
    key_env: str | None
    provider: Provider

    @property
    def local(self) -> bool:
        return is_loopback(self.host)

    @property
    def own(self) -> bool:
        """Whether this is the provider's own address, where its keys and prices hold."""
        return self.host == urlsplit(self.provider.url).hostname

    def key(self) -> str | None:
        """Returns the key as it is now; None where none is needed. Raises BackendError if it should be there."""
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            state = "is empty" if self.key_env in os.environ else "is not set"
            raise BackendError(
                f"environment variable {self.key_env} {state}", where=self.url, fix=f"export {self.key_env}=..."
            )
        return key

    def guard(self, request: Any) -> None:
        """Lets a request pass only to this host and port, with the key and no header that is not in `SENT`.

        A hook of the HTTP client: `request` has `url` and `headers`.
        """
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        if (request.url.host, port) != (self.host, self.port):
            raise PolicyError(f"a request to {request.url.host}:{port} was stopped", where=self.url)
        for name in list(request.headers):
            if name.lower() not in SENT:
                del request.headers[name]
        if (key := self.key()) is not None:
            request.headers[self.provider.header] = self.provider.prefix + key

    def client(self, make: Callable[..., Any], *, silence_s: float, connections: int) -> Any:
        """Returns an HTTP client of httpx's interface that follows no redirect and reads no proxy or netrc setting."""
        import httpx2

        return make(
            follow_redirects=False,
            trust_env=False,
            verify=True,
            timeout=httpx2.Timeout(silence_s, connect=min(10.0, silence_s)),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=connections),
            event_hooks={"request": [self.guard]},
        )


def server(config: ModelConfig) -> Server:
    """Returns where a model is asked. Raises ConfigError for an address that cannot be used, or is not safe."""
    provider = PROVIDERS[config.backend]
    url = (config.base_url or provider.url).rstrip("/")
    where = f"model {config.name}, base_url"
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise ConfigError(f"'{redact(url)}' is no address: {error}", where=where, fix=_EXAMPLE) from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError(f"'{redact(url)}' is no address of a server", where=where, fix=_EXAMPLE)
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            "the address holds a user name, a query or a fragment",
            where=where,
            fix="put a key into an environment variable and name it in `api_key_env`",
        )
    if parts.scheme == "http" and not (is_loopback(host) or config.allow_http):
        raise ConfigError(
            f"http to {host} would send prompts and key unencrypted",
            where=where,
            fix="use https, or add `allow_http: true`",
        )
    if config.api_key_env is not None and not is_secret(config.api_key_env):
        raise ConfigError(
            f"api_key_env names '{config.api_key_env}': its value could not be kept out of files and messages",
            where=f"model {config.name}",
            fix="name a variable that ends in KEY, TOKEN or SECRET",
        )
    own = config.base_url is None or host == urlsplit(provider.url).hostname
    key_env = config.api_key_env or (provider.key_env if own else None)
    return Server(url, host, port or (443 if parts.scheme == "https" else 80), key_env, provider)


_EXAMPLE = "give it as https://HOST/v1 or http://127.0.0.1:PORT/v1"


def egress(config: ModelConfig) -> str | None:
    """Returns the host a model's prompts are sent to; None if they stay on this machine."""
    if config.backend not in PROVIDERS:
        return None
    found = server(config)
    return None if found.local else found.host


def where(config: ModelConfig) -> str:
    """Returns where a model runs: a host name, `this machine`, or `recorded` for answers that are only read."""
    return "recorded" if config.backend == "recorded" else egress(config) or THIS_MACHINE


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


def is_loopback(host: str) -> bool:
    """Returns whether a host name or address is this machine itself. A name is looked up by nobody."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False
