"""Command lines under way in processes of their own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class Running:
    """A process, and the file in which it says what it says."""

    def __init__(self, command: list[str], said: Path, **options: object) -> None:
        self._said = said
        with said.open("w") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, **options)  # type: ignore[call-overload]

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_for(self, condition: Callable[[], object], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"it ended early: {self.said}"
            assert time.monotonic() < end, f"waited in vain: {self.said}"
            time.sleep(0.05)
