"""The contenders' processes as the harness sees them: started, asked, stopped between their turns, started again."""

from __future__ import annotations

import glob
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case

HERE = Path(__file__).resolve().parent
LIMIT_S = 900  # no request takes longer: the process is ended
KEPT_BYTES = 1 << 30  # a process that holds more between two cases is started again
_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMBA", "HL", "TVM")


@dataclass(frozen=True)
class Contender:
    """`preload`: whether it runs with the allocator preloaded that all share."""

    module: str
    preload: bool = True


CONTENDERS = {
    "stream": Contender("stream"),
    "weft": Contender("weft_cpu"),
    "numpy": Contender("numpy_plain"),
    "torch": Contender("torch_eager"),
    "torch.compile": Contender("torch_compiled"),
    "torch.flex": Contender("torch_flex"),
    "jax": Contender("jax_jit"),
    "onnxruntime": Contender("onnxruntime_cpu"),
    "openvino": Contender("openvino_cpu", preload=False),  # crashes with it
    "numba": Contender("numba_parallel"),
    "halide": Contender("halide_scheduled"),
    "tvm": Contender("tvm_built"),
}


@dataclass
class Turn:
    ms: list[float]
    disturbed: bool
    bandwidth: float


@dataclass(frozen=True)
class Setup:
    """What all processes have in common; `interpreters` names another Python for some."""

    threads: int
    cpus: tuple[int, ...]
    environment: dict[str, str]
    interpreters: dict[str, str] = field(default_factory=dict)


@dataclass
class Worker:
    """A contender's process; `turns`, `note`, `error` and `prepare_s` belong to the current case."""

    name: str
    process: subprocess.Popen[str]
    turns: list[Turn] = field(default_factory=list)
    note: str = ""
    error: float | None = None
    prepare_s: float = 0.0
    version: str = ""

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self.alive:
            return {"ok": False, "why": f"the process ended with {self.process.returncode}"}
        os.killpg(self.process.pid, signal.SIGCONT)
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
                self.close()
                return {"ok": False, "why": f"no answer within {LIMIT_S} s"}
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"ok": False, "why": f"the process ended with {self.process.wait()}"}
        os.killpg(self.process.pid, signal.SIGSTOP)
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        if self.alive:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def allocator() -> tuple[str, dict[str, str]]:
    """The same allocator and huge pages for all, where jemalloc is installed."""
    found = sorted(glob.glob("/usr/lib/*/libjemalloc.so.2") + glob.glob("/usr/lib64/libjemalloc.so.2"))
    if not found:
        return "system", {}
    conf = "retain:true,dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always"
    return f"jemalloc ({conf})", {"LD_PRELOAD": found[0], "MALLOC_CONF": conf}


# The system's allocator brought as close to that as it goes: huge pages, nothing given back.
_GLIBC = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=68719476736:"
    "glibc.malloc.trim_threshold=68719476736"
}


def start(name: str, setup: Setup) -> Worker:
    contender = CONTENDERS[name]
    env = os.environ | (setup.environment if contender.preload else _GLIBC)
    env |= {"PYTHONPATH": str(HERE), "PYTHONWARNINGS": "ignore", "WEFT_THREADS": str(setup.threads)}
    env |= {f"{library}_NUM_THREADS": str(setup.threads) for library in _THREADS}
    command = [setup.interpreters.get(name, sys.executable), str(HERE / "worker.py"), contender.module]
    command += ["--threads", str(setup.threads), "--cpus", ",".join(map(str, setup.cpus))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True
    )
    worker = Worker(name, process)
    reply = worker.ask({"do": "hello"})
    worker.version, worker.note = reply.get("version", ""), reply.get("why", "")
    return worker


def present(names: list[str], setup: Setup) -> tuple[list[Worker], dict[str, str]]:
    """The contenders that can be imported, started, and why the others cannot."""
    workers, absent = [], {}
    for name in names:
        try:
            worker = start(name, setup)
        except OSError as error:  # no such interpreter
            absent[name] = str(error)
            continue
        if worker.note:
            absent[name] = worker.note
            worker.close()
        else:
            workers.append(worker)
    return workers, absent


def prepare(worker: Worker, case: Case, expected: list[np.ndarray[Any, Any]], folder: Path) -> bool:
    """Builds the case, whose inputs lie in `folder`, in the worker and checks its answer."""
    worker.turns, worker.note, worker.error = [], "", None
    start_time = time.perf_counter()
    reply = worker.ask({"do": "prepare", "suite": case.suite, "case": case.name, "folder": str(folder)})
    worker.prepare_s = time.perf_counter() - start_time
    if not reply["ok"]:
        worker.note = reply["why"]
        return False
    if reply["checked"]:
        files = [folder / f"{CONTENDERS[worker.name].module}-{k}.npy" for k in range(reply["outputs"])]
        if len(files) != len(expected):
            worker.note = f"wrong: {len(files)} outputs instead of {len(expected)}"
            return False
        worker.error = max(error_of(np.load(f), want) for f, want in zip(files, expected, strict=True))
        for file in files:
            file.unlink()
        if not worker.error <= case.tolerance:
            worker.note = f"wrong: error {worker.error:.2g} over {case.tolerance:.2g}"
            return False
    return True


def finish(workers: list[Worker], setup: Setup) -> None:
    """After a case. An allocator that gives nothing back would fill the memory in the end."""
    for k, worker in enumerate(workers):
        worker.ask({"do": "drop"})
        if not worker.alive or worker.resident_bytes() > KEPT_BYTES:
            worker.close()
            workers[k] = start(worker.name, setup)


def error_of(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> float:
    """The largest difference relative to the largest answer; infinite for a wrong shape or NaN."""
    if got.shape != want.shape:
        return float("inf")
    if want.size == 0:
        return 0.0
    error = float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-30))
    return float("inf") if np.isnan(error) else error
