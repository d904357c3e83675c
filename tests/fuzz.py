"""`make fuzz`: random programs through the interpreter, every pass, random schedules and every target, which must all
agree; and files that are no programs through the command line, which must say so.

    python tests/fuzz.py [--programs 2000] [--chains 500] [--bad-input 2000] [--first 0] [--targets cpu,c] [--keep DIR]

Programs and files are a pure function of their number: `--first N --programs 1` asks about program N again. What each
goes through stands in fuzzing/checking.py; programs come from the whole grammar (tests/ir/op_random.py), chains from
what operators are made of (fuzzing/op_chains.py). Extents are 0, 1, primes and tile-sized ones. All of it happens in
worker processes: a crash or a hang is a finding like a wrong number. What fails is kept. Ends with 1 if anything did.
"""

from __future__ import annotations

import argparse
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

FOLDERS = [str(Path(__file__).parent / folder) for folder in ("ir", "fuzzing")]
sys.path[:0] = FOLDERS

TIME_LIMIT = 300  # seconds of processor time for one program
FOREVER = 7200.0  # seconds for a batch: waiting for each other is a finding too, being stopped for a while is not
BATCHES = 40  # per process: what LLVM and the C library keep must not add up
PROGRAM, CHAIN, FILE = "program", "chain", "file"  # what a worker is asked about


def work(targets: Sequence[str]) -> None:
    """A worker: `program N N ...`, `chain N N ...` or `file N N ...` in; lines out: `found N what` any number of
    times, then `done`."""
    from bad_input import check_file
    from checking import check_all

    def findings(kind: str, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        if kind != FILE:
            yield from check_all(kind, numbers, targets)
            return
        for number in numbers:
            yield from ((number, finding) for finding in check_file(number))

    for line in sys.stdin:
        kind, *numbers = line.split()
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + TIME_LIMIT
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        for number, finding in findings(kind, [int(n) for n in numbers]):
            print(f"found {number} {finding!r}", flush=True)
        print("done", flush=True)


class Worker:
    """One process, started again whenever a program kills or hangs it, and now and then to begin anew."""

    def __init__(self, targets: str) -> None:
        self.command = [sys.executable, __file__, "--work", "--targets", targets]
        self.start()

    def start(self) -> None:
        self.batches = 0
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"WEFT_POISON": "1", "WEFT_CACHE": "0", "WEFT_RECORDS": "off"},
        )

    def end(self) -> int:
        self.process.kill()
        return self.process.wait()

    def run(self, kind: str, numbers: Sequence[int]) -> dict[int, list[str]]:
        """The findings of some programs or files. Where the process dies, each is asked about by itself."""
        if self.batches == BATCHES:
            self.end()
            self.start()
        self.batches += 1
        found = self.ask(kind, numbers)
        if isinstance(found, dict):
            return found
        self.start()
        if len(numbers) == 1:
            return {numbers[0]: [found]}
        apart: dict[int, list[str]] = {}
        died = False
        for number in numbers:
            alone = self.ask(kind, [number])
            if isinstance(alone, str):
                alone, died = {number: [alone]}, True
                self.start()
            apart |= alone
        if not died:
            apart.setdefault(numbers[0], []).append(f"{found}, but not when asked about {numbers} one by one")
        return apart

    def ask(self, kind: str, numbers: Sequence[int]) -> dict[int, list[str]] | str:
        """The findings, or how the process ended."""
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        late = threading.Timer(FOREVER, process.kill)
        late.start()
        findings: dict[int, list[str]] = {}
        try:
            process.stdin.write(f"{kind} {' '.join(map(str, numbers))}\n")
            process.stdin.flush()
            for line in process.stdout:
                if line == "done\n":
                    return findings
                _, number, what = line.rstrip().split(" ", 2)
                findings.setdefault(int(number), []).append(what)
        except BrokenPipeError:
            pass
        finally:
            late.cancel()
        status = process.wait()
        if status == -signal.SIGXCPU:
            return f"no answer within {TIME_LIMIT} s of processor time"
        return f"the process died with status {status}"


def keep(folder: Path, kind: str, number: int, findings: list[str]) -> None:
    """Write a program with its findings as comments; a file as it is, with the findings beside it."""
    from bad_files import bad_file
    from subjects import text_of

    folder.mkdir(parents=True, exist_ok=True)
    notes = "".join(f"# {line}\n" for finding in findings for line in finding.splitlines())
    if kind == FILE:
        (folder / f"bad-{number}.gir").write_bytes(bad_file(number))
        (folder / f"bad-{number}.txt").write_text(notes)
    else:
        (folder / f"{kind}-{number}.gir").write_text(notes + text_of(kind, number))


def batches(options: argparse.Namespace) -> Iterator[tuple[str, list[int]]]:
    from checking import BATCH

    for kind, count in ((PROGRAM, options.programs), (CHAIN, options.chains), (FILE, options.bad_input)):
        numbers = range(options.first, options.first + count)
        start = numbers.start
        while start < numbers.stop:
            end = min((start // BATCH + 1) * BATCH, numbers.stop)
            yield kind, list(range(start, end))
            start = end


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--chains", type=int, default=0)
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
    tasks: queue.SimpleQueue[tuple[str, list[int]]] = queue.SimpleQueue()
    for batch in batches(options):
        tasks.put(batch)
    failed: dict[tuple[str, int], list[str]] = {}
    finished = 0

    def drive() -> None:
        nonlocal finished
        worker = Worker(options.targets)
        while True:
            try:
                kind, numbers = tasks.get_nowait()
            except queue.Empty:
                break
            for number, findings in worker.run(kind, numbers).items():
                failed[kind, number] = findings
                keep(options.keep, kind, number, findings)
                print(f"{kind} {number}: {findings[0][:300]}", flush=True)
            before, finished = finished, finished + len(numbers)
            if before // 200 != finished // 200:
                print(f"{finished} done, {len(failed)} fail", flush=True)
        worker.end()

    drivers = [threading.Thread(target=drive) for _ in range(max(1, options.workers))]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    print(
        f"{options.programs} programs and {options.chains} chains on {options.targets}, {options.bad_input} bad files: "
        f"{len(failed)} fail" + (f", kept in {options.keep}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
