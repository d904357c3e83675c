"""The tuner's side of the worker: start it, ask it something within a time, kill it with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import settings
from ..compiler.reproducer import private_directory
from ..ir.errors import UserError
from .record import Status

_PREFIX = "weft-tune-"
MODULE = "weft.autotune.worker"
START_LIMIT = 60.0  # seconds until a worker answers at first
MAX_REPLY = 64 << 20
LAST_WORDS = 2000  # bytes of its standard error that are looked at


class Died(Exception):
    """The worker crashed, or was killed for taking too long: `status` says which. It is gone when this is raised."""

    def __init__(self, status: Status, why: str) -> None:
        super().__init__(why)
        self.status = status


class NoWorker(UserError):
    """No worker can be had: the machine's fault and no candidate's."""


class Process:
    """A worker and its process group. To be closed, best by `with`."""

    def __init__(self, target: str, machine: str | None, threads: int) -> None:
        if not sys.executable:
            raise NoWorker("this Python does not know its own program, so that no measuring process can be started")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        # The worker finds the modules that this process found, wherever it is started.
        path = os.pathsep.join(os.path.abspath(p) for p in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._received = b""
        try:
            self.hello = self.ask(
                {"do": "hello", "target": target, "machine": machine, "threads": threads}, START_LIMIT
            )
        except Died as died:
            self.close()
            raise NoWorker(f"the measuring process does not start: {died}") from None
        except BaseException:
            self.close()
            raise
        if not self.hello["ok"]:
            self.close()
            raise NoWorker(f"the measuring process cannot be used: {self.hello['why']}")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """The reply. Raises Died where none comes within `limit` seconds."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._crashed() from None
        line = self._line(limit)
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            self.close()
            raise Died(Status.CRASH, "its reply makes no sense")
        return reply

    def _line(self, limit: float) -> bytes:
        assert self._process.stdout is not None
        end = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._received:
                left = end - time.monotonic()
                if left <= 0 or len(self._received) > MAX_REPLY:
                    self.close()
                    raise Died(Status.HANG, f"no answer within {limit:.3g} s")
                if not selector.select(left):
                    continue
                data = os.read(self._process.stdout.fileno(), 1 << 16)
                if not data:
                    raise self._crashed()
                self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _crashed(self) -> Died:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        code = self._process.poll()
        words = self._last_words()
        self.close()
        if code is not None and code < 0:
            return Died(Status.CRASH, f"killed by {_signal(-code)}{words}")
        return Died(Status.CRASH, f"ended with code {code}{words}")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - LAST_WORDS))
            lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            return f": {lines[-1][:200]}" if lines else ""
        return ""

    def close(self) -> None:
        """Kill the whole group and wait for it: nothing of it runs when the next measurement begins."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def folder_for_arrays() -> Iterator[Path]:
    """Private, on a disk because arrays may be large, and deleted at the end; so are those of killed tuners."""
    place = Path(tempfile.gettempdir())
    for left in sorted(place.glob(f"{_PREFIX}*-*")):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError, ValueError):
            if left.lstat().st_uid == os.getuid() and not left.is_symlink() and not _runs(int(pid)):
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place) as folder:
        yield Path(folder)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Two tuners that measure at the same time disturb each other: one of a user measures, the others wait."""
    from filelock import FileLock

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, UserError):  # where nothing can be locked, hope for the best
            folder = private_directory(settings.cache_directory())
            stack.enter_context(FileLock(folder / "measuring.lock", mode=0o600))
        yield
