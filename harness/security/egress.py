"""Where a request goes and what may go with it: addresses and keys. Loads no SDK.

A backend sends to one host and port, that of its `base_url`, through the `proxy` its settings name and no other. A
redirect is an error, not another host; a certificate is always checked, against the system's or those of `ca_file`. The
key is read when a request is sent, from its environment variable or from a command such as a keyring's, and put into
that request only.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.errors import BackendError, ConfigError, PolicyError
from harness.security.secrets import bare, is_secret, keep_out, redact
from harness.values import Sensitivity

if TYPE_CHECKING:
    from harness.config.model import RemoteModel


THIS_MACHINE = "this machine"
KEPT_S = 300.0  # a key that a command printed: asking a keyring for every request would hold all of them up


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


_CARRIED: ContextVar[Sensitivity] = ContextVar("carried", default="public")  # what a request under way holds


@contextmanager
def carrying(sensitivity: Sensitivity) -> Iterator[None]:
    """Tells the guard, in this thread, how sensitive is what is sent meanwhile."""
    token = _CARRIED.set(sensitivity)
    try:
        yield
    finally:
        _CARRIED.reset(token)


_IN_A_HEADER = re.compile(r"[!-~]+")  # a blank, a line break or an umlaut never is


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model runs, where its prompts go, and whose prices hold."""

    name: str  # this machine, a host, or recorded
    egress: str | None = None  # the host that prompts are sent to; None: they stay on this machine
    asked: str | None = None  # the host of the server that is asked; None: none is
    provider: str | None = None  # whose own address that is
    lacks: str = ""  # what is still missing before it can be asked: a key

    @property
    def served_here(self) -> bool:
        """Returns whether it is a server on this computer."""
        return self.asked is not None and is_loopback(self.asked)


HERE = Place(THIS_MACHINE)
FILE = Place("recorded")  # answers are only read


@dataclass(frozen=True, slots=True)
class Server:
    """The one place a backend sends to."""

    url: str
    host: str
    port: int
    key_env: str | None
    provider: Provider
    key_command: tuple[str, ...] | None = None  # in place of the variable
    proxy: str | None = None
    ca_file: str | None = None

    @property
    def key_name(self) -> str | None:
        """What messages call the key; None where none is needed."""
        return self.key_env if self.key_command is None else f"api_key_command ({self.key_command[0]})"

    @property
    def local(self) -> bool:
        return is_loopback(self.host)

    @property
    def egress(self) -> str | None:
        """Returns the host that prompts are sent to, a proxy's too; None if they stay on this machine."""
        if not self.local:
            return self.host
        proxy = None if self.proxy is None else urlsplit(self.proxy).hostname
        return None if proxy is None or is_loopback(proxy) else proxy

    @property
    def own(self) -> bool:
        """Whether this is the provider's own address, where its keys and prices hold."""
        return self.host == urlsplit(self.provider.url).hostname

    def key(self) -> str | None:
        """Returns the key as it is now; None where none is needed. Raises BackendError if it should be there."""
        if self.key_command is not None:
            return _printed(self.key_command, int(time.monotonic() // KEPT_S))
        if self.key_env is None:
            return None
        if missing := self.missing_key():
            raise BackendError(missing, where=self.url, fix=f"export {self.key_env}=...")
        return bare(os.environ[self.key_env])

    def missing_key(self) -> str:
        """Returns what to say of an environment variable that should hold the key and does not; else nothing."""
        if self.key_env is None or self.key_command is not None:
            return ""
        key = bare(os.environ.get(self.key_env, ""))
        if not key:
            return f"environment variable {self.key_env} {'is empty' if self.key_env in os.environ else 'is not set'}"
        return "" if _IN_A_HEADER.fullmatch(key) else f"environment variable {self.key_env} holds what no key can hold"

    def refuse(self, sensitivity: Sensitivity) -> None:
        """Raises PolicyError for data that never leave this machine, on their way to another."""
        if sensitivity == "restricted" and self.egress is not None:
            what = f"restricted data on their way to {self.egress} were stopped"
            fix = "ask a model on this machine; no setting overrides this"
            raise PolicyError(what, where=self.url, fix=fix)

    def guard(self, request: Any) -> None:
        """Lets a request pass only to this host and port, with the key and no header that is not in `SENT`.

        A hook of the HTTP client: `request` has `url` and `headers`.
        """
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        if (request.url.host, port) != (self.host, self.port):
            raise PolicyError(f"a request to {request.url.host}:{port} was stopped", where=self.url)
        self.refuse(_CARRIED.get())
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
            verify=True if self.ca_file is None else ssl.create_default_context(cafile=self.ca_file),
            proxy=self.proxy,
            timeout=httpx2.Timeout(silence_s, connect=min(10.0, silence_s)),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=connections),
            event_hooks={"request": [self.guard]},
        )


def server(config: RemoteModel) -> Server:
    """Returns where a model is asked. Raises ConfigError for an address that cannot be used, or is not safe."""
    provider = PROVIDERS[config.backend]
    url = (config.address or provider.url).rstrip("/")
    where = f"model {config.name}, base_url"
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host.encode("idna")  # a name that no resolver can be asked for
    except ValueError as error:  # UnicodeError is one
        raise ConfigError(f"'{redact(url)}' is no address: {error}", where=where, fix=_EXAMPLE) from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError(f"'{redact(url)}' is no address of a server", where=where, fix=_EXAMPLE)
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            "the address holds a user name, a query or a fragment",
            where=where,
            fix="put a key into an environment variable and name it in `api_key_env`",
        )
    if parts.scheme == "http" and not (is_loopback(host) or config.unencrypted):
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
    own = config.address is None or host == urlsplit(provider.url).hostname
    if config.api_key_env is not None and config.api_key_command is not None:
        what = "both `api_key_env` and `api_key_command` say where the key is"
        raise ConfigError(what, where=f"model {config.name}", fix="leave one of them out")
    key_env = config.api_key_env or (provider.key_env if own and config.api_key_command is None else None)
    return Server(
        url,
        host,
        port or (443 if parts.scheme == "https" else 80),
        key_env,
        provider,
        config.api_key_command,
        _proxy(config),
        _ca_file(config),
    )


def _proxy(config: RemoteModel) -> str | None:
    """Returns the proxy of the settings. Raises ConfigError if it is no address, or holds a password."""
    if config.proxy is None:
        return None
    where, fix = f"model {config.name}, proxy", "give it as http://HOST:PORT"
    try:
        parts = urlsplit(config.proxy)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"'{redact(config.proxy)}' is no address of a proxy", where=where, fix=fix)
    if parts.username is not None:
        raise ConfigError("the address of the proxy holds a user name", where=where, fix="use a proxy that needs none")
    return config.proxy


def _ca_file(config: RemoteModel) -> str | None:
    """Returns the file of certificates to trust. Raises ConfigError if it holds none."""
    if config.ca_file is None:
        return None
    try:
        ssl.create_default_context(cafile=config.ca_file)
    except OSError as error:  # ssl.SSLError is one
        what = f"{config.ca_file} holds no certificates: {error.strerror or error}"
        raise ConfigError(what, where=f"model {config.name}, ca_file", fix="name a file of PEM certificates") from None
    return config.ca_file


@lru_cache(maxsize=8)
def _printed(command: tuple[str, ...], moment: int) -> str:
    """Returns the key that a command prints; `moment` makes it run again after a while.

    Raises BackendError for a command that fails or prints nothing. What it says is not shown: it may be the key.
    """
    where, fix = "api_key_command", "run the command by hand: it must print the key and nothing else"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError, UnicodeError) as error:
        raise BackendError(f"{command[0]} could not be run: {type(error).__name__}", where=where, fix=fix) from None
    key = bare(done.stdout)
    if done.returncode != 0 or not _IN_A_HEADER.fullmatch(key):
        state = f"ended with code {done.returncode}" if done.returncode else "printed no key"
        raise BackendError(f"{command[0]} {state}", where=where, fix=fix)
    keep_out(key)
    return key


_EXAMPLE = "give it as https://HOST/v1 or http://127.0.0.1:PORT/v1"


def place_of(config: RemoteModel) -> Place:
    """Returns where a model at an address is asked. Raises ConfigError as `server` does."""
    found = server(config)
    provider = config.backend if found.own else None
    return Place(found.egress or THIS_MACHINE, found.egress, found.host, provider, found.missing_key())


def is_loopback(host: str) -> bool:
    """Returns whether a host name or address is this machine itself. A name is looked up by nobody."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False
