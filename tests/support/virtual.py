"""An event loop whose clock jumps to the next timer: hours of load in milliseconds, and exact times to compare with.

    run(drive(target, requests, scenario))

Only for code that waits on timers alone; real sockets and threads need a real clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select

        def jump(timeout: float | None) -> Any:
            assert timeout is not None, "waits for something that is no timer"
            self._now += max(0.0, timeout)
            return select(0)

        self._selector.select = jump

    def time(self) -> float:
        return self._now


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
