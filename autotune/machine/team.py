"""Threads that measure together: each on a core of its own, where the system lets us say so."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator


class Team:
    """`threads - 1` waiting threads; `run(job)` calls `job(k)` on every member, the caller is number 0, and returns
    when all are done. While the team is open each member stays on one core: a scheduler takes long to part two."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._start = threading.Barrier(threads)
        self._end = threading.Barrier(threads)
        self._job: Callable[[int], None] | None = None
        self._errors: list[BaseException] = []
        for k in range(1, threads):
            threading.Thread(target=self._serve, args=(k,), daemon=True).start()
        self._pin(0)

    def run(self, job: Callable[[int], None]) -> None:
        """Raises what a member raised."""
        self._job = job
        self._start.wait()
        try:
            job(0)
        finally:
            self._end.wait()
        if self._errors:
            raise self._errors.pop()

    def close(self) -> None:
        """End the threads, and let the caller run on any core again."""
        self._job = None
        with contextlib.suppress(threading.BrokenBarrierError):  # somebody was interrupted while waiting
            self._start.wait()
        if self._cpus:
            os.sched_setaffinity(0, self._cpus)

    def _pin(self, k: int) -> None:
        if self._cpus:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, {self._cpus[k % len(self._cpus)]})

    def _serve(self, k: int) -> None:
        self._pin(k)
        with contextlib.suppress(threading.BrokenBarrierError):
            while True:
                self._start.wait()
                if self._job is None:
                    return
                try:
                    self._job(k)
                except BaseException as error:  # the caller is told
                    self._errors.append(error)
                self._end.wait()


@contextlib.contextmanager
def team(threads: int) -> Iterator[Team]:
    made = Team(threads)
    try:
        yield made
    finally:
        made.close()
