"""`make fuzz`: random programs through the interpreter, every pass and every target, which must all agree; and files
that are no programs through the command line, which must say so.

    python tests/fuzz.py [--programs 2000] [--bad-input 2000] [--first 0] [--targets cpu,c] [--workers N] [--keep DIR]

Programs and files are a pure function of their number. Each program is checked with extents 0, 1, primes and tile-sized
ones, specialised or with symbolic extents; each file is parsed and given to one command. All of it happens in worker
processes: a crash or a hang is a finding like a wrong number. What fails is kept. Ends with 1 if anything did.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "ir"))
from bad_files import bad_file
from op_random import RandomOp, random_inputs

EXTENTS = (0, 1, 2, 3, 5, 7, 13, 16, 17, 31, 64, 67)
TIME_LIMIT = 300.0  # seconds for one program
PROGRAM, FILE = "program", "file"  # what a worker is asked about
# Differences allowed, relative to the largest magnitude (at least 1), by the narrowest float type that is stored.
TOLERANCE = {"bf16": 6e-2, "f16": 1e-2, "f32": 3e-4, "f64": 1e-9}


def check(seed: int, targets: list[str]) -> Iterator[str]:
    """What is wrong with program `seed`: nothing, or one line per finding."""
    import weft
    from weft.compiler.pipeline import OP_PASSES
    from weft.ir.errors import WeftError
    from weft.ir.expr import Cast, walk
    from weft.ir.op_interp import interpret
    from weft.ir.op_text import parse_op
    from weft.ir.op_verify import verify

    rng = random.Random(seed)
    extents = {name: rng.choice(EXTENTS) for name in "MNK"}
    op = parse_op(RandomOp(seed).text)
    inputs = random_inputs(op, extents, seed)
    expected = interpret(op, inputs, extents)
    stored = {t.dtype.value for d in op.definitions for t in d.targets if t.dtype.is_float}
    stored |= {t.dtype.arithmetic.value for t in op.inputs if t.dtype.is_float}  # computed with, if not stored
    casts = (x.dtype for d in op.definitions for e in d.expressions for x in walk(e) if isinstance(x, Cast))
    stored |= {d.arithmetic.value for d in casts if d.is_float}
    allowed = max([TOLERANCE[d] for d in stored], default=0.0)

    def differs(found: dict[str, Any]) -> str:
        for name, reference in expected.items():
            error = difference(np.asarray(found[name]), np.asarray(reference))
            if not error <= allowed:
                return f"'{name}' differs by {error:.3g} (allowed {allowed:.3g})"
        return ""

    changed = op
    for step in OP_PASSES:
        try:
            changed = step.run(changed)
            verify(changed)
            wrong = differs(interpret(changed, inputs, extents))
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            yield f"pass {step.name}, {extents}: {wrong}"
            break
    for target in targets:
        specialise = rng.choice(("auto", "auto", "never"))
        try:
            kernel = weft.compile(op, target, specialise=specialise)
            given = {s.name: extents[s.name] for s in op.symbols}
            result = kernel(**inputs, **given)
            results = result if isinstance(result, tuple) else (result,)
            wrong = differs(dict(zip([t.name for t in op.outputs], results, strict=True)))
        except WeftError as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            yield f"target {target} ({specialise}), {extents}: {wrong}"


def difference(found: Any, reference: Any) -> float:
    """Largest difference relative to the largest magnitude (at least 1); infinite where kinds of value differ."""
    if found.shape != reference.shape:
        return float("inf")
    if reference.dtype.kind in "iub":
        return 0.0 if np.array_equal(found, reference) else float("inf")
    a, b = found.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(a[finite]).all():
        return float("inf")
    return float(np.abs(a[finite] - b[finite]).max() / max(1.0, np.abs(b[finite]).max())) if finite.any() else 0.0


def work(targets: list[str]) -> None:
    """A worker: `program N` or `file N` in, lines out: `found N what` any number of times, then `done N`."""
    from bad_input import check_file

    for line in sys.stdin:
        kind, number = line.split()
        seed = int(number)
        try:
            for finding in check(seed, targets) if kind == PROGRAM else check_file(seed):
                print(f"found {seed} {finding!r}", flush=True)
        except Exception as error:
            print(f"found {seed} {f'{type(error).__name__}: {error}'!r}", flush=True)
        print(f"done {seed}", flush=True)


class Worker:
    """One process, started again whenever a program kills or hangs it."""

    def __init__(self, arguments: list[str]) -> None:
        self.command = [sys.executable, __file__, "--work", *arguments]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"WEFT_VERIFY": "1", "WEFT_POISON": "1", "WEFT_CACHE": "0"},
        )

    def run(self, kind: str, seed: int) -> list[str]:
        """The findings of one program or file."""
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        late = threading.Timer(TIME_LIMIT, process.kill)
        late.start()
        findings: list[str] = []
        started = time.monotonic()
        try:
            process.stdin.write(f"{kind} {seed}\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith("done "):
                    return findings
                findings.append(line.split(" ", 2)[2].strip())
        except BrokenPipeError:
            pass
        finally:
            late.cancel()
        status = process.wait()
        hung = time.monotonic() - started >= TIME_LIMIT
        self.start()
        return [*findings, f"no answer within {TIME_LIMIT:.0f} s" if hung else f"the process died with status {status}"]


def keep(folder: Path, kind: str, seed: int, findings: list[str]) -> None:
    """Write a program with its findings as comments; a file as it is, with the findings beside it."""
    notes = "".join(f"# {line}\n" for finding in findings for line in finding.splitlines())
    if kind == PROGRAM:
        (folder / f"{seed}.gir").write_text(notes + RandomOp(seed).text)
    else:
        (folder / f"bad-{seed}.gir").write_bytes(bad_file(seed))
        (folder / f"bad-{seed}.txt").write_text(notes)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--bad-input", type=int, default=0, help="how many bad files")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--targets", default="cpu,c")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.targets.split(","))
        return 0
    tasks: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    for kind, count in ((PROGRAM, options.programs), (FILE, options.bad_input)):
        for seed in range(options.first, options.first + count):
            tasks.put((kind, seed))
    failed: dict[tuple[str, int], list[str]] = {}
    finished = 0

    def drive() -> None:
        nonlocal finished
        worker = Worker(["--targets", options.targets])
        while True:
            try:
                kind, seed = tasks.get_nowait()
            except queue.Empty:
                break
            findings = worker.run(kind, seed)
            finished += 1
            if findings:
                failed[kind, seed] = findings
                options.keep.mkdir(parents=True, exist_ok=True)
                keep(options.keep, kind, seed, findings)
                print(f"{kind} {seed}: {findings[0][:300]}", flush=True)
            if finished % 100 == 0:
                print(f"{finished} done, {len(failed)} fail", flush=True)
        worker.process.kill()
        worker.process.wait()

    drivers = [threading.Thread(target=drive) for _ in range(max(1, options.workers))]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    print(
        f"{options.programs} programs on {options.targets}, {options.bad_input} bad files: {len(failed)} fail"
        + (f", kept in {options.keep}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
