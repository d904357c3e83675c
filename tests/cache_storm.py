"""Many processes on one kernel cache, killed at random (`make storm`); a small one of these runs with the tests.

    python tests/cache_storm.py --processes 32 --seconds 60 --work compile

Workers write, read and evict a few keys without end and check what they read; `compile` has them compile kernels, call
them and check the results. Every now and then one is killed with SIGKILL and another one takes its place. In the end
every file must be an entry that checks out, and none may be left that is only half written.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

KEYS = 6
LIMIT = 60_000  # bytes: about half of what the workers write; half of that where they compile
WRONG = 3  # exit code of a worker that read something else than was written


def content(key: str) -> dict[str, bytes]:
    """What belongs to a key; its length depends on it."""
    rng = random.Random(key)
    return {"code": rng.randbytes(rng.randrange(100, 40_000)), "program": key.encode()}


def store_worker(directory: Path, seed: int) -> None:
    from weft.compiler.cache.store import Store

    store = Store(directory, LIMIT)
    rng = random.Random(seed)
    for _ in counted_rounds(directory):
        key = f"key {rng.randrange(KEYS)}"
        found = store.get(key)
        if found is not None and found != content(key):
            sys.exit(WRONG)
        if found is None or rng.random() < 0.3:
            store.put(key, content(key))
        if rng.random() < 0.3:
            store.trim()


def compile_worker(directory: Path, seed: int) -> None:
    """A new process for each kernel would spend its time on imports: the layer in memory is emptied instead."""
    import numpy as np
    import weft
    from weft.compiler.cache import shelf as cache

    os.environ |= {"WEFT_CACHE": "1", "WEFT_CACHE_DIR": str(directory), "WEFT_CACHE_BYTES": str(LIMIT // 2)}
    rng = random.Random(seed)
    for _ in counted_rounds(directory):
        n, factor = rng.choice((3, 64, 1000)), rng.choice((2.0, 3.0))
        text = f"op scaled(x: f32[N]) -> (y: f32[N]) {{ y[i] = x[i] * {factor} }}"
        x = np.arange(n, dtype=np.float32)
        if not np.array_equal(weft.compile(text, "cpu")(x), x * np.float32(factor)):
            sys.exit(WRONG)
        cache.forget()


def counted_rounds(directory: Path) -> Iterator[None]:
    """Without end; each round that ended is a byte of the file `rounds`, also of processes that are killed."""
    descriptor = os.open(directory / "rounds", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        yield
        os.write(descriptor, b".")


def storm(directory: Path, processes: int, seconds: float, work: str, kill_every: float, seed: int = 0) -> list[str]:
    """What went wrong, and nothing in the good case; prints how much was done."""
    directory.mkdir(mode=0o700, exist_ok=True)
    rng = random.Random(seed)
    started = 0

    def start() -> subprocess.Popen[bytes]:
        nonlocal started
        started += 1
        command = [sys.executable, __file__, "--worker", str(directory), "--seed", str(started), "--work", work]
        return subprocess.Popen(command, stderr=subprocess.PIPE)

    running = [start() for _ in range(processes)]
    problems: list[str] = []
    end = time.monotonic() + seconds
    killed = 0
    while time.monotonic() < end:
        time.sleep(rng.uniform(0, 2 * kill_every))
        slot = rng.randrange(processes)
        killed += finish(running[slot], problems)
        running[slot] = start()
    for process in running:
        killed += finish(process, problems)
    problems += check(directory)
    rounds = (directory / "rounds").stat().st_size
    problems += [] if rounds >= started else ["hardly anything was done"]
    print(f"{started} processes, {killed} killed at work, {rounds} rounds, {len(problems)} problems")
    return problems


def finish(process: subprocess.Popen[bytes], problems: list[str]) -> int:
    """Kill a worker; 1 where that is what ended it, else a problem is noted."""
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    if process.returncode == -signal.SIGKILL:
        return 1
    problems.append(f"a worker ended with {process.returncode}: {said.decode(errors='replace')[-500:]}")
    return 0


def check(directory: Path) -> list[str]:
    """What is wrong with the files; unfinished ones are deleted first, as they are a quarter of an hour later."""
    import json

    from weft.compiler.cache import store as cache_store

    store = cache_store.Store(directory, LIMIT)
    names = os.listdir(store.folder) if store.folder.exists() else []
    problems = [] if any(n.endswith(".kernel") for n in names) else ["no entry was ever written"]
    for name in names:
        path = store.folder / name
        if name.startswith(".new-"):
            os.utime(path, (0, 0))
            continue
        data = path.read_bytes()
        key = json.loads(data.split(b"\n", 2)[1])["key"]
        if cache_store.file_name(key) != name or cache_store.decode(data, key) is None:
            problems.append(f"{name} is damaged")
    store.trim()
    left = [n for n in os.listdir(store.folder) if n.startswith(".new-")]
    if store.usage().bytes > LIMIT:
        problems.append("more than the limit is left")
    return problems + [f"{name} is left unfinished" for name in left]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--processes", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--work", choices=["store", "compile"], default="compile")
    parser.add_argument("--kill-every", type=float, default=0.5, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker = store_worker if given.work == "store" else compile_worker
        worker(given.worker, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        problems = storm(Path(folder), given.processes, given.seconds, given.work, given.kill_every, given.seed)
    print("\n".join(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
