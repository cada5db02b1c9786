"""Signals that ask a process to stop: SIGINT, SIGTERM, SIGHUP. Each one saves everything first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop. Exit code 128 + `number`, as shells have it."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Stop:
    """Whether a signal has come: `number`, None before."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self, number: int, frame: Any) -> None:
        """The first signal is noted, a second one stops at once."""
        if self.number is not None:
            _stop(number, frame)
        self.number = number

    def obey(self) -> None:
        """Raise `Stopped` if a signal has come."""
        if self.number is not None:
            raise Stopped(self.number)


def raise_stopped() -> None:
    """From now on a signal raises `Stopped` wherever the process is. What is ignored, as under nohup, stays ignored."""
    _handle(_stop)


@contextmanager
def postponed() -> Iterator[Stop]:
    """Inside, the first signal is only noted, so that the work can stop where nothing is lost."""
    stop = Stop()
    before = _handle(stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: Any) -> None:
    raise Stopped(number)


def _handle(handler: Callable[[int, Any], None]) -> dict[signal.Signals, Any]:
    """Install `handler`; returns what was there before. Only the main thread can: elsewhere nothing happens."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in STOPPING}
    before = {number: there for number, there in before.items() if there not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    return before
