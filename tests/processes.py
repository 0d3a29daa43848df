"""Processes that tests start: none outlives its test, and none makes it wait for ever."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def started(*command: str | Path, seconds: float = 120, **more: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process, its output in pipes unless told otherwise.

    It is killed with all of its children, which ends whoever reads from them, when the block raises or takes too long.
    Interrupts reach it even where the tests run in the background, who ignore them, as their children would.
    """
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        process = subprocess.Popen([os.fspath(one) for one in command], start_new_session=True, **more)
    finally:
        signal.signal(signal.SIGINT, before)

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    limit = threading.Timer(seconds, kill)
    limit.start()
    try:
        with process:
            try:
                yield process
            except BaseException:
                kill()
                raise
    finally:
        limit.cancel()


def interrupt(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    """Send a signal, and once more if it does not end the process.

    Python sees a signal between two instructions: one that comes just before a read that waits is seen behind it.
    """
    process.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
        return
    process.send_signal(number)


def peak_of(program: str, *arguments: str | Path) -> int:
    """The most memory, in KB, that a Python program has had.

    What getrusage tells of a process begins with what the one had that started it.
    """
    told = "\nprint(open('/proc/self/status').read())"
    command = [sys.executable, "-c", program + told, *map(os.fspath, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"VmHWM:\s*([0-9]+) kB", done.stdout)
    assert found is not None
    return int(found[1])
