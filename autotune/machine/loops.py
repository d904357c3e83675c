"""Loops that measure a machine, as LLVM IR with vectors of its width; they run in this process, no compiler needed.

Memory: `read`, `write`, `copy`, and with stores past the caches `stream` and `fill`, over an array, some times over.
Arithmetic: `peak_*`, independent chains in registers; `chain_*`, one chain; `mix`, independent instructions of several
kinds. Latency: `chase` follows pointers. `ticks` is a chain of additions of integers, one in a cycle everywhere.
`meet` lets threads begin together.

LLVM's optimiser does not see them (a copying loop would become a call, a chain would be folded), and the instructions
that count are looked for in the assembly: a folded loop would read too high.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass

from ...backends.cpu.jit import Loaded, Processor, assembly, load_code, process_code
from ...ir.errors import InternalError

CHAINS = 12  # independent accumulators: more than latency times throughput of any machine of this kind
WIDE = 8  # vectors that a turn of a memory loop moves
PATIENCE = 1 << 28  # looks, about a second: the thread that is waited for may have failed
TICKS = 64  # additions of a turn of `ticks`
MIX = ("fma", "fadd", "fmul", "add", "xor", "shl")  # what a vector function is made of


@dataclass(frozen=True)
class Dot:
    """An instruction that contracts narrow elements into wide ones: its LLVM name by bytes of a vector, the operands,
    operations (a multiply and an add each) for every byte of the result, what it is called in assembly, and the
    feature that has it."""

    name: str
    intrinsics: dict[int, str]
    result: str  # element type
    operands: tuple[str, ...]  # element types that LLVM's versions have used
    operations_per_byte: float
    mnemonic: str
    feature: str


DOTS = (
    Dot(
        "bf16_dot", {64: "llvm.x86.avx512bf16.dpbf16ps.512", 32: "llvm.x86.avx512bf16.dpbf16ps.256"},
        "float", ("bfloat", "i32"), 1.0, "vdpbf16ps", "avx512_bf16",
    ),
    Dot(
        "i8_dot", {64: "llvm.x86.avx512.vpdpbusd.512", 32: "llvm.x86.avx512.vpdpbusd.256"},
        "i32", ("i8", "i32"), 2.0, "vpdpbusd", "avx512_vnni",
    ),
    Dot(
        "i8_dot", {32: "llvm.x86.avx512.vpdpbusd.256"}, "i32", ("i8", "i32"), 2.0, "vpdpbusd", "avx_vnni",
    ),
    Dot("bf16_dot", {16: "llvm.aarch64.neon.bfdot.v4f32.v8bf16"}, "float", ("bfloat",), 1.0, "bfdot", "bf16"),
    Dot("i8_dot", {16: "llvm.aarch64.neon.sdot.v4i32.v16i8"}, "i32", ("i8",), 2.0, "sdot", "asimddp"),
)  # fmt: skip
_BITS = {"float": 32, "double": 64, "bfloat": 16, "i32": 32, "i64": 64, "i8": 8}


def vector(element: str, size: int) -> str:
    return f"<{size * 8 // _BITS[element]} x {element}>"


def memory_text(size: int) -> str:
    """The memory loops for vectors of `size` bytes; `%n` is a multiple of WIDE * size."""
    return "\n".join(_memory_loop(name, size) for name in ("read", "write", "copy", "stream", "fill"))


def _memory_loop(name: str, size: int) -> str:
    v, lanes = vector("i32", size), range(WIDE)
    hint = ", !nontemporal !0" if name in ("stream", "fill") else ""
    phis = body = sinks = ""
    for k in lanes:
        body += f"  %o{k} = add i64 %i, {k * size}\n"
        if name in ("read", "copy", "stream"):
            body += f"  %s{k} = getelementptr i8, ptr %source, i64 %o{k}\n  %v{k} = load {v}, ptr %s{k}, align {size}\n"
        if name == "read":
            phis += f"  %a{k} = phi {v} [ zeroinitializer, %again ], [ %b{k}, %loop ]\n"
            body += f"  %b{k} = xor {v} %a{k}, %v{k}\n"
            sinks += f"  %z{k} = getelementptr i8, ptr %sink, i64 {k * size}\n"
            sinks += f"  store {v} %b{k}, ptr %z{k}, align {size}\n"
        else:
            value = "%given" if name in ("write", "fill") else f"%v{k}"
            body += f"  %t{k} = getelementptr i8, ptr %target, i64 %o{k}\n"
            body += f"  store {v} {value}, ptr %t{k}, align {size}{hint}\n"
    return f"""
define void @{name}(ptr %source, ptr %target, i64 %n, i64 %times, ptr %sink) {{
start:
  %given = load {v}, ptr %sink, align {size}
  br label %again
again:
  %r = phi i64 [ 0, %start ], [ %r.next, %done ]
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %i.next, %loop ]
{phis}{body}  %i.next = add i64 %i, {WIDE * size}
  %more = icmp ult i64 %i.next, %n
  br i1 %more, label %loop, label %done
done:
{sinks}  %r.next = add i64 %r, 1
  %over = icmp ult i64 %r.next, %times
  br i1 %over, label %again, label %end
end:
  fence seq_cst
  ret void
}}
"""


def chains_text(name: str, element: str, size: int, chains: int, step: Callable[[int, str], str]) -> str:
    """`void name(i64 steps, ptr data)`: `chains` accumulators, `step(k, old)` the text of one's next value."""
    v = vector(element, size)
    every = range(chains)
    phis = "\n".join(f"  %a{k} = phi {v} [ %x, %start ], [ %b{k}, %loop ]" for k in every)
    steps = "\n".join(step(k, f"%a{k}") for k in every)
    stores = "\n".join(
        f"  %p{k} = getelementptr i8, ptr %data, i64 {(k + 2) * size}\n  store {v} %b{k}, ptr %p{k}, align {size}"
        for k in every
    )
    return f"""
define void @{name}(i64 %steps, ptr %data) {{
start:
  %yp = getelementptr i8, ptr %data, i64 {size}
  %x = load {v}, ptr %data, align {size}
  %y = load {v}, ptr %yp, align {size}
  br label %loop
loop:
  %i = phi i64 [ 0, %start ], [ %i.next, %loop ]
{phis}
{steps}
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %steps
  br i1 %more, label %loop, label %end
end:
{stores}
  ret void
}}
"""


def fma_text(element: str, size: int, has_fma: bool, chains: int, name: str) -> str:
    """Multiply-adds; without the instruction, a multiplication and an addition."""
    v = vector(element, size)
    kind = f"v{size * 8 // _BITS[element]}f{_BITS[element]}"

    def step(k: int, old: str) -> str:
        if has_fma:
            return f"  %b{k} = call {v} @llvm.fma.{kind}({v} {old}, {v} %x, {v} %y)"
        return f"  %m{k} = fmul {v} {old}, %x\n  %b{k} = fadd {v} %m{k}, %y"

    declared = f"declare {v} @llvm.fma.{kind}({v}, {v}, {v})\n" if has_fma and chains > 1 else ""
    return chains_text(name, element, size, chains, step) + declared


def dot_text(dot: Dot, size: int, operand: str) -> str:
    v, w = vector(dot.result, size), vector(operand, size)

    def step(k: int, old: str) -> str:
        return f"  %b{k} = call {v} @{dot.intrinsics[size]}({v} {old}, {w} %xw, {w} %yw)"

    text = chains_text(f"peak_{dot.name}", dot.result, size, CHAINS, step)
    narrow = f"  %xw = bitcast {v} %x to {w}\n  %yw = bitcast {v} %y to {w}\n  br label %loop\n"
    return text.replace("  br label %loop\n", narrow, 1) + f"declare {v} @{dot.intrinsics[size]}({v}, {w}, {w})\n"


def mix_text(size: int, has_fma: bool) -> str:
    """Each chain does one of MIX to a value of its own; two chains of each. Integers are those of f32's size."""
    f, i = vector("float", size), vector("i32", size)
    lanes = size // 4
    three = f"<{', '.join(['i32 3'] * lanes)}>"

    def step(k: int, old: str) -> str:
        what = MIX[k % len(MIX)]
        if what == "fma" and has_fma:
            return f"  %b{k} = call {f} @llvm.fma.v{lanes}f32({f} {old}, {f} %x, {f} %y)"
        if what in ("fma", "fmul", "fadd"):
            return f"  %b{k} = {'fadd' if what == 'fma' else what} {f} {old}, {'%y' if what == 'fadd' else '%x'}"
        other = three if what == "shl" else "%xi"
        cast = f"  %c{k} = bitcast {f} {old} to {i}\n  %d{k} = {what} {i} %c{k}, {other}\n"
        return cast + f"  %b{k} = bitcast {i} %d{k} to {f}"

    text = chains_text("mix", "float", size, 2 * len(MIX), step)
    return text.replace("  br label %loop\n", f"  %xi = bitcast {f} %x to {i}\n  br label %loop\n", 1)


def scalar_text() -> str:
    """`ticks(n, data)`: TICKS dependent additions n times; `chase(n, place)`: n loads, each of the next address;
    `meet(n, count)`: wait until n threads are here, `count` being zero before."""
    ticks = "\n".join(
        f"  %v{k + 1} = {'add' if k % 2 else 'xor'} i64 %v{k}, %{'x' if k % 2 else 'y'}" for k in range(TICKS)
    )
    return f"""
define void @ticks(i64 %n, ptr %data) {{
start:
  %yp = getelementptr i64, ptr %data, i64 1
  %x = load i64, ptr %data
  %y = load i64, ptr %yp
  br label %loop
loop:
  %i = phi i64 [ 0, %start ], [ %i.next, %loop ]
  %v0 = phi i64 [ %x, %start ], [ %v{TICKS}, %loop ]
{ticks}
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %n
  br i1 %more, label %loop, label %end
end:
  store i64 %v{TICKS}, ptr %data
  ret void
}}

define void @meet(i64 %n, ptr %count) {{
start:
  %before = atomicrmw add ptr %count, i64 1 seq_cst
  br label %loop
loop:
  %turn = phi i64 [ 0, %start ], [ %turn.next, %loop ]
  %now = load atomic i64, ptr %count seq_cst, align 8
  %all = icmp uge i64 %now, %n
  %turn.next = add i64 %turn, 1
  %long = icmp ugt i64 %turn, {PATIENCE}
  %go = or i1 %all, %long
  br i1 %go, label %end, label %loop
end:
  ret void
}}

define void @chase(i64 %n, ptr %place) {{
start:
  %first = load ptr, ptr %place
  br label %loop
loop:
  %i = phi i64 [ 0, %start ], [ %i.next, %loop ]
  %at = phi ptr [ %first, %start ], [ %next, %loop ]
  %next = load ptr, ptr %at
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %n
  br i1 %more, label %loop, label %end
end:
  store ptr %next, ptr %place
  ret void
}}
"""


class Loops:
    """The compiled loops. `dots` are the names of the `peak_` loops that this processor has beside f32 and f64."""

    def __init__(self, processor: Processor, size: int, has_fma: bool, flags: frozenset[str]) -> None:
        self.size = size
        found = {
            d.name: t
            for d in DOTS
            if d.feature in flags and size in d.intrinsics and (t := _working(d, size, processor))
        }
        text = f'target triple = "{processor.triple}"\n' + memory_text(size) + scalar_text() + mix_text(size, has_fma)
        for element, name in (("float", "f32"), ("double", "f64")):
            text += fma_text(element, size, has_fma, CHAINS, f"peak_{name}") + fma_text(
                element, size, has_fma, 1, f"chain_{name}"
            )
        text += "".join(found.values()) + "!0 = !{i32 1}\n"
        self.dots = {d.name: d for d in DOTS if d.name in found and d.feature in flags}
        listing = assembly(text, processor, level=0)
        _check_listing(listing, processor.triple, has_fma)
        self._code: Loaded = load_code(process_code(text, processor, level=0), processor)
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        memory = ctypes.CFUNCTYPE(None, pointer, pointer, count, count, pointer)
        simple = ctypes.CFUNCTYPE(None, count, pointer)
        self.memory = {n: memory(self._code.address(n)) for n in ("read", "write", "copy", "stream", "fill")}
        names = ["peak_f32", "peak_f64", "chain_f32", "mix", "ticks", "chase", "meet", *(f"peak_{n}" for n in found)]
        self.simple = {n: simple(self._code.address(n)) for n in names}


def _working(dot: Dot, size: int, processor: Processor) -> str:
    """The text with the operands that this LLVM wants, empty where it has no such instruction."""
    for operand in dot.operands:
        text = dot_text(dot, size, operand)
        try:
            listing = assembly(f'target triple = "{processor.triple}"\n{text}', processor, level=0)
        except InternalError:
            continue
        if len(re.findall(rf"\b{dot.mnemonic}\b", listing)) == CHAINS:
            return text
    return ""


def _check_listing(listing: str, triple: str, has_fma: bool) -> None:
    """Raises InternalError where a loop does not hold what it should."""
    if not triple.startswith("x86_64") or not has_fma:
        return
    for name in ("peak_f32", "peak_f64"):
        part = listing[listing.index(f"\n{name}:") :]
        loop = part[: part.index("retq")]
        if loop.count("vfmadd") != CHAINS:
            raise InternalError(f"the loop {name} has {loop.count('vfmadd')} multiply-adds, {CHAINS} were written")
