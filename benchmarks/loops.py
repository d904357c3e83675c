"""Plain loops that measure the machine: moving bytes, and fused multiply-adds. Vector IR, compiled in process.

`move` copies with streaming stores (which skip the read-for-ownership), reads without writing, or writes without
reading, so that it can move exactly the bytes of any operator. `fma_flops` runs independent chains of multiply-adds in
registers; the assembly is searched for the instructions, because a folded chain once read too high.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np

_LINE = 64  # bytes; one vector of 16 floats, one cache line
_ALONE = 2 << 20  # bytes that one thread moves sooner than it wakes another
_CHAINS = 12  # independent accumulators: more than latency times throughput of any machine of this kind

_IR = """
define void @move(i8* %source, i8* %target, i64 %copies, i64 %reads, i64 %writes, i8* %sink) {{
entry:
  br label %copy
copy:
  %i = phi i64 [0, %entry], [%i2, %copy_body]
  %c = icmp ult i64 %i, %copies
  br i1 %c, label %copy_body, label %read
copy_body:
  %o = mul i64 %i, 64
  %sp = getelementptr i8, i8* %source, i64 %o
  %tp = getelementptr i8, i8* %target, i64 %o
  %sv = bitcast i8* %sp to <16 x float>*
  %tv = bitcast i8* %tp to <16 x float>*
  %v = load <16 x float>, <16 x float>* %sv, align 64
  store <16 x float> %v, <16 x float>* %tv, align 64, !nontemporal !0
  %i2 = add i64 %i, 1
  br label %copy
read:
  %a = phi <16 x i32> [zeroinitializer, %copy], [%a2, %read_body]
  %j = phi i64 [%copies, %copy], [%j2, %read_body]
  %jn = add i64 %copies, %reads
  %d = icmp ult i64 %j, %jn
  br i1 %d, label %read_body, label %write
read_body:
  %ro = mul i64 %j, 64
  %rp = getelementptr i8, i8* %source, i64 %ro
  %rv = bitcast i8* %rp to <16 x i32>*
  %w = load <16 x i32>, <16 x i32>* %rv, align 64
  %a2 = xor <16 x i32> %a, %w
  %j2 = add i64 %j, 1
  br label %read
write:
  %k = phi i64 [%copies, %read], [%k2, %write_body]
  %kn = add i64 %copies, %writes
  %e = icmp ult i64 %k, %kn
  br i1 %e, label %write_body, label %done
write_body:
  %wo = mul i64 %k, 64
  %wp = getelementptr i8, i8* %target, i64 %wo
  %wv = bitcast i8* %wp to <16 x float>*
  store <16 x float> zeroinitializer, <16 x float>* %wv, align 64, !nontemporal !0
  %k2 = add i64 %k, 1
  br label %write
done:
  %zs = bitcast i8* %sink to <16 x i32>*
  store <16 x i32> %a, <16 x i32>* %zs, align 64
  fence seq_cst
  ret void
}}

define void @fma(i64 %steps, <{lanes} x float>* %data) {{
entry:
  %xp = getelementptr <{lanes} x float>, <{lanes} x float>* %data, i64 0
  %yp = getelementptr <{lanes} x float>, <{lanes} x float>* %data, i64 1
  %x = load <{lanes} x float>, <{lanes} x float>* %xp, align 4
  %y = load <{lanes} x float>, <{lanes} x float>* %yp, align 4
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i2, %loop]
{phis}
{fmas}
  %i2 = add i64 %i, 1
  %c = icmp ult i64 %i2, %steps
  br i1 %c, label %loop, label %done
done:
{stores}
  ret void
}}
declare <{lanes} x float> @llvm.fma.v{lanes}f32(<{lanes} x float>, <{lanes} x float>, <{lanes} x float>)
!0 = !{{i32 1}}
"""


def _text(lanes: int) -> str:
    v = f"<{lanes} x float>"
    chains = range(_CHAINS)
    return _IR.format(
        lanes=lanes,
        phis="\n".join(f"  %a{k} = phi {v} [%x, %entry], [%b{k}, %loop]" for k in chains),
        fmas="\n".join(f"  %b{k} = call {v} @llvm.fma.v{lanes}f32({v} %a{k}, {v} %x, {v} %y)" for k in chains),
        stores="\n".join(
            f"  %p{k} = getelementptr {v}, {v}* %data, i64 {k + 2}\n  store {v} %b{k}, {v}* %p{k}, align 4"
            for k in chains
        ),
    )


class Loops:
    """The compiled loops, and `threads` threads to run them on (the caller is one of them)."""

    def __init__(self, threads: int, pin: bool = True) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        self.lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
        self.threads = threads
        module = llvm.parse_assembly(_text(self.lanes))
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=3
        )
        assembly = machine.emit_assembly(module)
        self.fma_instructions = assembly.count("vfmadd") or assembly.count("fmla")
        if self.fma_instructions < _CHAINS:
            raise RuntimeError(f"the peak loop was folded: {self.fma_instructions} multiply-adds for {_CHAINS} chains")
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        longs, pointer = ctypes.c_int64, ctypes.c_void_p
        move, fma = self._engine.get_function_address("move"), self._engine.get_function_address("fma")
        self._move = ctypes.CFUNCTYPE(None, pointer, pointer, longs, longs, longs, pointer)(move)
        self._fma = ctypes.CFUNCTYPE(None, longs, pointer)(fma)
        self._team = Team(threads, pin)
        self._sinks = aligned(threads * _LINE)

    def move(self, source: np.ndarray, target: np.ndarray, read: int, write: int) -> None:
        """Reads `read` bytes of `source` and writes `write` bytes of `target`: copies what both share."""
        copies, reads, writes = (n // _LINE for n in (min(read, write), max(read - write, 0), max(write - read, 0)))
        team = self.threads if read + write > _ALONE else 1
        s, t, sinks = source.ctypes.data, target.ctypes.data, self._sinks.ctypes.data

        def part(k: int) -> None:
            def cut(n: int) -> tuple[int, int]:
                return n * k // team, n * (k + 1) // team

            (c0, c1), (r0, r1), (w0, w1) = cut(copies), cut(reads), cut(writes)
            self._move(s + c0 * _LINE, t + c0 * _LINE, c1 - c0, 0, 0, sinks + k * _LINE)
            if r1 > r0:
                self._move(s + (copies + r0) * _LINE, t, 0, r1 - r0, 0, sinks + k * _LINE)
            if w1 > w0:
                self._move(s, t + (copies + w0) * _LINE, 0, 0, w1 - w0, sinks + k * _LINE)

        if team == 1:
            part(0)
        else:
            self._team.run(part)

    def fma_flops(self, seconds: float = 0.1) -> float:
        """Flops per second of all threads together, the best of a few tries."""
        steps = 1_000_000
        data = np.full((self.threads, _CHAINS + 2, self.lanes), 1e-3, np.float32)
        best, spent = 0.0, 0.0
        while spent < seconds:
            start = time.perf_counter()
            self._team.run(lambda k: self._fma(steps, data[k].ctypes.data))
            wall = time.perf_counter() - start
            best = max(best, self.threads * steps * _CHAINS * self.lanes * 2 / wall)
            spent += wall
        return best


class Team:
    """`threads - 1` waiting threads; `run(job)` calls `job(k)` on every member and returns when all are done.

    With `pin`, every member, the caller too, stays on a CPU of its own: a scheduler takes long to part two threads.
    """

    def __init__(self, threads: int, pin: bool) -> None:
        self._cpus = sorted(os.sched_getaffinity(0)) if pin and hasattr(os, "sched_getaffinity") else []
        self._start = threading.Barrier(threads)
        self._end = threading.Barrier(threads)
        self._job: Callable[[int], None] | None = None
        for k in range(1, threads):
            threading.Thread(target=self._serve, args=(k,), daemon=True).start()
        self._pin(0)

    def _pin(self, k: int) -> None:
        if self._cpus:
            os.sched_setaffinity(0, {self._cpus[k % len(self._cpus)]})

    def _serve(self, k: int) -> None:
        self._pin(k)
        while True:
            self._start.wait()
            if self._job is not None:
                self._job(k)
            self._end.wait()

    def run(self, job: Callable[[int], None]) -> None:
        self._job = job
        self._start.wait()
        job(0)
        self._end.wait()


def aligned(size: int) -> np.ndarray:
    """Bytes on a huge-page boundary, touched, so that no page fault falls into a measurement."""
    huge = 2 << 20
    raw = np.ones(size + huge, np.uint8)
    offset = -raw.ctypes.data % huge
    return raw[offset : offset + size]
