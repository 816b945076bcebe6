"""A server with the OpenAI streaming interface as a target, and the network round trip to it.

Small on purpose: it exists to stamp what arrives. It follows no redirect, reads no proxy or netrc setting, keeps no
cookie and retries nothing. Needs `aiohttp`.
"""

from __future__ import annotations

import asyncio
import errno
import json
import math
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from harness.backends.servers.openai_protocol import Wire
from harness.errors import BackendError
from harness.measure.load.target import Chunk, RequestFailed, Usage
from harness.values import Request

CONNECT_S = 10.0  # a server that takes no connection for this long is not there
LINE_BYTES = 1 << 20  # the longest event read: a server that sends a longer line is not speaking this protocol
NO_WAY = {  # why no connection came about, where it was not the server that refused it
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.EMFILE: "no socket left",
    errno.ENFILE: "no socket left",
    errno.EADDRNOTAVAIL: "no socket left",
}


class OpenAIStream:
    """`/chat/completions` or `/completions` of a server, streamed.

    `url` is the base with its version, as `http://127.0.0.1:8000/v1`. The key is read from the environment variable
    `key_env` when the scenario begins and kept only in the connection. `extra` is added to each request's body. `own`:
    it is OpenAI's own server.
    """

    streams = True

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api: Literal["chat", "completions"] = "chat",
        own: bool = False,
        key_env: str | None = None,
        timeout_s: float = 600.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BackendError(f"'{url}' is no address of a server", where="url", fix="give one as http://HOST:PORT/v1")
        if key_env is not None and key_env not in os.environ:
            raise BackendError(f"environment variable {key_env} is not set", where=url, fix=f"export {key_env}=...")
        self.url, self.model, self.api = url.rstrip("/"), model, api
        self.host, self.port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self._wire = Wire(model, api, own)
        self._key_env, self._timeout_s, self._extra = key_env, timeout_s, dict(extra or {})

    async def __aenter__(self) -> Self:
        try:
            import aiohttp
        except ImportError as error:
            raise BackendError("measuring a server needs aiohttp", fix="pip install aiohttp") from error
        headers = {"Authorization": f"Bearer {os.environ[self._key_env]}"} if self._key_env else {}
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def send(self, request: Request) -> AsyncIterator[Chunk]:
        """Yields what the server streams. Raises `RequestFailed` for anything but a complete answer."""
        import aiohttp

        path = "/chat/completions" if self.api == "chat" else "/completions"
        if self.api != "chat" and request.prompt.text is None:
            raise BackendError("the completions interface takes text, not messages", fix="use api: chat")
        payload = {
            **self._wire.asked(request),
            "stream": True,
            "stream_options": {"include_usage": True},
            **self._wire.extra(request),
            **self._extra,
        }
        try:
            async with self._session.post(self.url + path, json=payload, allow_redirects=False) as reply:
                if reply.status != 200:
                    detail = (await reply.content.read(300)).decode("utf-8", "replace")
                    raise RequestFailed(f"http {reply.status}", detail, _seconds(reply.headers.get("Retry-After")))
                async for chunk in _events(reply.content):
                    yield chunk
        except TimeoutError as error:
            raise RequestFailed("timeout", str(error)) from error
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise RequestFailed("tls", str(error)) from error
        except aiohttp.ClientConnectorError as error:
            raise RequestFailed(_unconnected(error.os_error), str(error)) from error
        except aiohttp.ClientError as error:
            raise RequestFailed("cut", str(error)) from error

    async def round_trip(self) -> float | None:
        """Returns the seconds one TCP handshake takes; None if nothing answers."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except (OSError, TimeoutError):
            return None
        took = loop.time() - began
        writer.close()
        return took


def _unconnected(error: OSError) -> str:
    """Returns the kind of failure of a connection that never came about."""
    return "dns" if isinstance(error, socket.gaierror) else NO_WAY.get(error.errno, "refused")


def _seconds(retry_after: str | None) -> float | None:
    """Returns the seconds of a Retry-After header; None for none, for a date, or for no length of time."""
    try:
        seconds = float(retry_after) if retry_after else None
    except ValueError:
        return None
    return seconds if seconds is not None and math.isfinite(seconds) and seconds >= 0 else None


async def _events(stream: Any) -> AsyncIterator[Chunk]:
    """Yields the chunks of a server-sent event stream, each stamped when its bytes were read."""
    loop = asyncio.get_running_loop()
    rest = b""
    finished = False
    async for data in stream.iter_any():
        now = loop.time()
        rest += data
        *lines, rest = rest.split(b"\n")
        if len(rest) > LINE_BYTES:
            raise RequestFailed("invalid", f"a line of more than {LINE_BYTES} bytes")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            event = line[5:].strip()
            if event == b"[DONE]":
                return
            chunk, ended = _parse(event, now)
            finished = finished or ended
            if chunk is not None:
                yield chunk
    if not finished:
        raise RequestFailed("cut", "the stream ended before the answer did")


def _parse(event: bytes, now: float) -> tuple[Chunk | None, bool]:
    """Returns the chunk of one event, and whether it ends the answer."""
    try:
        value = json.loads(str(event, "utf-8"))
        if value.get("error"):
            raise RequestFailed("server error", str(value["error"])[:300])
        choice = (value.get("choices") or [{}])[0]
        delta = choice.get("delta") or {}
        text = delta.get("content") or choice.get("text") or ""
        thinking = delta.get("reasoning_content") or delta.get("reasoning") or ""
        if not (isinstance(text, str) and isinstance(thinking, str)):
            raise TypeError("an answer that is no text")
        usage = _usage(value.get("usage"))
    except (ValueError, AttributeError, TypeError, IndexError, KeyError, RecursionError) as error:
        raise RequestFailed("invalid", f"{error}: {event[:200]!r}") from error
    ended = choice.get("finish_reason") is not None
    if text or thinking or usage:
        return Chunk(t=now, text=text, thinking=thinking, usage=usage), ended
    return None, ended


def _usage(told: Any) -> Usage | None:
    """Returns what a server says it used; None if it says nothing, or nothing that can be read."""
    try:
        prompt, completion = told.get("prompt_tokens_details") or {}, told.get("completion_tokens_details") or {}
        cached, reasoning = prompt.get("cached_tokens"), completion.get("reasoning_tokens")
        usage = Usage(
            input_tokens=int(told["prompt_tokens"]),
            output_tokens=int(told["completion_tokens"]),
            cached_tokens=None if cached is None else int(cached),
            reasoning_tokens=None if reasoning is None else int(reasoning),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return usage if min(usage.input_tokens, usage.output_tokens) >= 0 else None
