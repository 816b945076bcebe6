"""A server on loopback that speaks the OpenAI streaming interface and misbehaves as told.

    with SyntheticServer(Reply(tokens=8, ttft_s=0.05)) as server:            # the same reply for every request
        ... server.url ...                                                   # http://127.0.0.1:PORT/v1
    SyntheticServer(lambda n, body: Reply(status=429) if n == 3 else Reply())  # by order of arrival and by body

Written on bare asyncio streams, so it shares no code with the clients it tests. It keeps what it was asked
(`server.bodies`, `server.headers`) and when it wrote each chunk (`server.sent`: seconds of `time.monotonic`, which is
the clock of the event loop in this and in other processes of the machine).

`stall_at` and `stall_s` stop the whole server once, as a garbage collection or a preempted batch does.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What one request gets. The default is a plain good answer of four tokens without delay."""

    tokens: int = 4  # output tokens, the thinking ones included; each is the text "tok "
    ttft_s: float = 0.0  # before the first token
    gap_s: float = 0.0  # before each later chunk
    per_chunk: int = 1  # tokens in one chunk, as with speculative decoding
    thinking: int = 0  # of the tokens, how many are streamed first as reasoning
    thinking_key: str = "reasoning_content"  # or "reasoning"
    hidden_thinking: int = 0  # tokens billed and counted, but never streamed
    empty_first: bool = False  # an empty role chunk at once, before the delay
    text: str | None = None  # this text in place of the tokens' own, in one chunk
    usage: str | int = "true"  # "true", "missing", or the number of output tokens to claim
    input_tokens: int = 7
    cached_tokens: int | None = None
    finish_reason: str = "stop"
    status: int = 200  # anything else: an error body and no stream
    retry_after: str | None = None  # header of an error
    body: bytes | None = None  # raw bytes in place of everything after the status line and headers
    cut_after: int | None = None  # close the connection after so many chunks
    garbage_at: int | None = None  # chunk that is no JSON
    error_at: int | None = None  # chunk that is an error event
    no_done: bool = False  # end without the [DONE] line
    hang: bool = False  # read the request and never answer


Script = Reply | Callable[[int, dict[str, Any]], Reply]


class SyntheticServer:
    """Runs in a thread of its own from `__enter__` to `__exit__`."""

    def __init__(self, script: Script | None = None, *, stall_at: int | None = None, stall_s: float = 0.0) -> None:
        self._script = script or Reply()
        self._stall_at, self._stall_s = stall_at, stall_s
        self._stalled_until = 0.0
        self._keep, self._order = True, 0
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.sent: list[list[float]] = []  # by request: the moment each chunk with tokens was written
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def forget(self) -> None:
        """Keeps nothing of later requests: for runs of many thousands."""
        self._keep = False

    def __enter__(self) -> SyntheticServer:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10), "the synthetic server did not start"
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._open: set[asyncio.Task] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._open.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; returns whether the connection goes on."""
        opening = await reader.readexactly(1)
        if not opening.isalpha():  # a TLS greeting, say
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return False
        head = opening + await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        body = json.loads(raw) if raw else {}
        order, stamps = self._order, []
        self._order += 1
        if self._keep:
            self.bodies.append(body)
            self.headers.append({**headers, ":request": first})
            self.sent.append(stamps)
        reply = self._script(order, body) if callable(self._script) else self._script
        if order == self._stall_at:
            self._stalled_until = time.monotonic() + self._stall_s
        if reply.hang:
            await asyncio.Event().wait()
        if reply.status != 200 or reply.body is not None:
            await self._pause(time.monotonic() + reply.ttft_s)
            return await self._plain(writer, reply)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        chat = first.split(" ")[1].endswith("/chat/completions")
        return await self._stream(writer, reply, chat, stamps)

    async def _pause(self, due: float) -> float:
        """Waits until a moment, and then as long as the server is stalled. Returns when the next wait begins.

        That is the moment itself but after a stall: a timer that is late delays no token but its own.
        """
        if (left := due - time.monotonic()) > 0:
            await asyncio.sleep(left)
        while (left := self._stalled_until - time.monotonic()) > 0:
            await asyncio.sleep(left)
            due = time.monotonic()
        return due

    async def _plain(self, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        body = reply.body if reply.body is not None else json.dumps({"error": {"message": "told to fail"}}).encode()
        extra = f"Retry-After: {reply.retry_after}\r\n" if reply.retry_after else ""
        head = f"HTTP/1.1 {reply.status} X\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        return True

    async def _stream(self, writer: asyncio.StreamWriter, reply: Reply, chat: bool, stamps: list[float]) -> bool:
        def event(value: Any) -> None:
            data = b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

        def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            part = {"delta": delta} if chat else {"text": delta.get("content", "")}
            return {"choices": [{"index": 0, **part, "finish_reason": finish}]}

        if reply.empty_first:
            event(choice({"role": "assistant", "content": ""}))
            await writer.drain()
        due = time.monotonic()
        for number, delta in enumerate(_deltas(reply)):
            due = await self._pause(due + (reply.gap_s if number else reply.ttft_s))
            if number == reply.cut_after:
                return False
            if number == reply.error_at:
                event({"error": {"message": "told to fail"}})
            elif number == reply.garbage_at:
                event(b'{"choices": [{"delta"')
            else:
                event(choice(delta))
            stamps.append(time.monotonic())
            await writer.drain()
        event(choice({}, reply.finish_reason) if not reply.no_done else choice({}))
        if reply.usage != "missing":
            event({"choices": [], "usage": _usage(reply)})
        if not reply.no_done:
            event(b"[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def _deltas(reply: Reply) -> list[dict[str, str]]:
    """Returns the pieces of the answer, thinking first."""
    if reply.text is not None:
        return [{"content": reply.text}]
    pieces: list[dict[str, str]] = []
    for key, tokens in ((reply.thinking_key, reply.thinking), ("content", reply.tokens - reply.thinking)):
        for begin in range(0, tokens, reply.per_chunk):
            pieces.append({key: "tok " * min(reply.per_chunk, tokens - begin)})
    return pieces


def _usage(reply: Reply) -> dict[str, Any]:
    claimed = reply.tokens + reply.hidden_thinking if reply.usage == "true" else reply.usage
    usage: dict[str, Any] = {"prompt_tokens": reply.input_tokens, "completion_tokens": claimed}
    if reply.cached_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": reply.cached_tokens}
    thought = reply.thinking + reply.hidden_thinking
    if thought:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    return usage


def count_tokens(text: str) -> int:
    """Returns how many of this server's tokens a text is: our own count in tests."""
    return len(text.split())


def stream_to(url: str, *, timeout_s: float = 600.0, **settings: Any) -> Any:
    """Returns a server as a target of loads, with the settings of a model in a run file."""
    from harness.config.model import model_of
    from harness.measure.load.openai_stream import OpenAIStream

    given = {"name": "m", "backend": "openai", "base_url": url, "limits": {"sample_s": timeout_s}}
    return OpenAIStream(model_of(**given | settings))
