"""A server with the OpenAI streaming interface as a target, and the network round trip to it.

It goes where a run goes, by the same settings: one host and port past the same guard, through the `proxy` that is named
and no other, with the same key, to a certificate that is trusted. What comes back is read by the same reader. It has a
transport of its own (`aiohttp`), since a load sends hundreds of requests a second from one thread and stamps the bytes
as they are read: the SDKs are too slow for that. It follows no redirect, keeps no cookie and retries nothing.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from harness.backends.servers.event_stream import EventStream
from harness.backends.servers.meanings import refusal
from harness.backends.servers.openai_protocol import OPENAI, Wire
from harness.backends.servers.reading import complete, telling
from harness.backends.servers.replies import BadReply, Piece, transport_failure
from harness.errors import BackendError
from harness.measure.load.target import RequestFailed
from harness.security.egress import server
from harness.values import GenerateRequest, Request

if TYPE_CHECKING:
    import aiohttp

    from harness.config.model import RemoteModel

CONNECT_S = 10.0  # a server that takes no connection for this long is not there
ERROR_BYTES = 1 << 16  # of the body of a refusal that are read


class OpenAIStream:
    """`/chat/completions` or `/completions` of the server of one model, streamed.

    The key is read when a scenario begins and kept only in the connection. A request may take `limits.sample_s` in all:
    under load, silence is waiting and no failure. Raises a HarnessError for settings that lead nowhere.
    """

    streams = True

    def __init__(self, config: RemoteModel) -> None:
        self.place = server(config)
        self.place.key()  # raises if it is needed and not there
        self.config, self.url = config, self.place.url
        self._wire = Wire(config.served_as, config.api, self.place.own)
        first_hop = urlsplit(self.place.proxy) if self.place.proxy is not None else None
        self._hop = (self.place.host, self.place.port) if first_hop is None else (first_hop.hostname, first_hop.port)

    async def __aenter__(self) -> Self:
        try:
            import aiohttp
        except ImportError as error:
            raise BackendError("measuring a server needs aiohttp", fix="pip install aiohttp") from error
        parts = urlsplit(self.url)
        asked = SimpleNamespace(url=SimpleNamespace(host=parts.hostname, port=parts.port, scheme=parts.scheme))
        asked.headers = {}
        self.place.guard(asked)  # the same one that every request of a run passes
        trusted = ssl.create_default_context(cafile=self.place.ca_file) if self.place.ca_file else True
        self._session: aiohttp.ClientSession = aiohttp.ClientSession(
            headers=asked.headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ssl=trusted),
            timeout=aiohttp.ClientTimeout(total=self.config.limits.sample_s, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def send(self, request: Request) -> AsyncGenerator[Piece, None]:
        """Yields what the server streams. Raises `RequestFailed` for anything but a complete answer, PolicyError for
        data that may not leave this machine."""
        import aiohttp

        self.place.refuse(request.sensitivity)
        if self.config.api != "chat" and request.prompt.text is None:
            raise BackendError("the completions interface takes text, not messages", fix="use api: chat")
        to, proxy = self.url + self._wire.path, self.place.proxy
        answering, finish, done = False, None, False
        try:
            async with self._session.post(to, json=self.body(request), allow_redirects=False, proxy=proxy) as reply:
                answering = True
                if reply.status != 200:
                    raise await _refused(reply)
                async for piece in _pieces(reply.content):
                    finish, done = telling(finish, piece.finish), done or piece.done
                    yield piece
            complete(finish, done=done)
        except BadReply as bad:
            raise RequestFailed(bad.kind, bad.detail, bad.refused) from bad
        except TimeoutError as error:
            raise RequestFailed("timeout", str(error)) from error
        except (aiohttp.ClientError, ssl.SSLError) as error:
            answering = answering or not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientSSLError)
            raise RequestFailed(transport_failure(error, answering=answering), str(error)) from error

    def body(self, request: Request) -> dict[str, Any]:
        """Returns what is sent for a request."""
        if not isinstance(request, GenerateRequest):
            raise BackendError("a load asks for texts, not for log-likelihoods", fix="ask the task as text")
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        return self._wire.asked(request) | streamed | self._wire.extra(request) | dict(self.config.extra)

    async def round_trip(self) -> float | None:
        """Returns the seconds one TCP handshake takes, with the proxy where there is one; None if nothing answers."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(*self._hop)
        except (OSError, TimeoutError):
            return None
        took = loop.time() - began
        writer.close()
        return took


async def _refused(reply: aiohttp.ClientResponse) -> RequestFailed:
    """Returns what an answer other than 200 means."""
    said = (await reply.content.read(ERROR_BYTES)).decode("utf-8", "replace")
    try:
        told = json.loads(said)
    except (ValueError, RecursionError):
        told = None
    found = refusal(reply.status, reply.headers, told if isinstance(told, Mapping) else {}, said)
    return RequestFailed(found.kind, found.said, found)


async def _pieces(body: aiohttp.StreamReader) -> AsyncIterator[Piece]:
    """Yields the pieces of an answer, each stamped when its bytes were read."""
    loop, stream = asyncio.get_running_loop(), EventStream(OPENAI)
    async for data in body.iter_any():
        for piece in stream.feed(data, loop.time()):
            yield piece
        if stream.done:
            return
    for piece in stream.end():
        yield piece
