"""The C entry of a program that leaves this process as a shared library, beside the program's code and the run-time's.

`int NAME_call(void *const *buffers, const int64_t *symbols, int threads)`: buffers in the order of the program's
tensors, temporaries included; fewer than one thread means all cores that the calling thread may run on. Helper threads
start at the first call that asks for them and stay; a process that forks must not call the library in the child if it
did so before.
"""

from __future__ import annotations

from ...ir import gir
from ...ir.expr_text import print_expr
from .placement_ir import MASK_BYTES, SELF_BYTES
from .runtime_ir import MAX_THREADS, POOL_BYTES, is_darwin, runtime_ir


def c_name(program: gir.Program) -> str:
    """The program's name as C takes it."""
    name = "".join(c if c.isalnum() and c.isascii() else "_" for c in program.name) or "program"
    return f"_{name}" if name[0].isdigit() else name


def library_ir(program: gir.Program, triple: str) -> str:
    """The run-time and the C entry, as one module."""
    text = _GLUE + (_CORES_IN_MASK if "linux" in triple else _CORES_ONLINE)
    values = {
        "NAME": f"{c_name(program)}_call",
        "MASK": str(MASK_BYTES),
        "PROCESSORS": "58" if is_darwin(triple) else "84",  # _SC_NPROCESSORS_ONLN
        "POOL": str(POOL_BYTES),
        "MOST": str(MAX_THREADS),
        "SELF": str(SELF_BYTES),
    }
    for name, value in values.items():
        text = text.replace(f"${name}", value)
    return runtime_ir(triple) + text


def hidden(text: str) -> str:
    """Functions that other libraries shall not see."""
    return text.replace("\ndefine void @", "\ndefine hidden void @").replace("\ndefine ptr @", "\ndefine hidden ptr @")


def header(program: gir.Program) -> str:
    """The C declaration of the entry."""
    name = c_name(program)
    guard = f"WEFT_{name.upper()}_H"
    lines = [f"// {name}: interface.", f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    lines += [
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        "// Buffers, in this order, row-major and contiguous:",
    ]
    for t in program.tensors:
        text = f"{t.role} {t.name}: {t.dtype}[{', '.join(print_expr(e) for e in t.shape)}]"
        lines.append("//   " + "".join(c if " " <= c <= "~" else " " for c in text).rstrip("\\ "))
    symbols = ", ".join(s.name for s in program.symbols) or "none"
    lines += [f"// Symbols: {''.join(c if ' ' <= c <= '~' else ' ' for c in symbols)}", ""]
    lines += ["// No output may overlap another buffer. Fewer than one thread means all cores. The result is 0."]
    lines += [f"int {name}_call(void *const *buffers, const int64_t *symbols, int threads);", ""]
    lines += ["#ifdef __cplusplus", "}", "#endif", "", "#endif"]
    return "\n".join(lines) + "\n"


_GLUE = """
@pool = internal global [$POOL x i8] zeroinitializer, align 64
@helpers = internal global i64 0
@guard = internal global i32 0
declare void @weft_entry(ptr, ptr, ptr, i64, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare ptr @calloc(i64, i64)

define i32 @$NAME(ptr %buffers, ptr %symbols, i32 %threads) {
start:
  %thread = alloca i64
  %slots = alloca [64 x i8], align 64
  call void @llvm.memset.p0.i64(ptr %slots, i8 0, i64 64, i1 false)
  %grow0 = getelementptr i8, ptr %slots, i64 16
  %grow1 = getelementptr i8, ptr %slots, i64 48
  %slot1 = getelementptr i8, ptr %slots, i64 32
  store ptr @weft_grow, ptr %grow0
  store ptr @weft_grow, ptr %grow1
  %given = sext i32 %threads to i64
  %online = call i64 @weft_cores()
  %all = icmp slt i64 %given, 1
  %wanted = select i1 %all, i64 %online, i64 %given
  %most = icmp sgt i64 %wanted, $MOST
  %count = select i1 %most, i64 $MOST, i64 %wanted
  br label %lock
lock:
  %swapped = cmpxchg ptr @guard, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %swapped, 1
  br i1 %mine, label %setup, label %wait
wait:
  %yielded = call i32 @sched_yield()
  br label %lock
setup:
  %known = load ptr, ptr @pool
  %new = icmp eq ptr %known, null
  br i1 %new, label %first, label %more
first:
  %mutex = getelementptr i8, ptr @pool, i64 320
  %condition = getelementptr i8, ptr @pool, i64 448
  %m = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %c = call i32 @pthread_cond_init(ptr %condition, ptr null)
  store ptr @weft_parallel_for, ptr @pool
  br label %more
more:
  %have = load i64, ptr @helpers
  %next = add i64 %have, 1
  %enough = icmp sge i64 %next, %count
  br i1 %enough, label %unlock, label %create
create:
  %self = call ptr @calloc(i64 1, i64 $SELF)
  %none = icmp eq ptr %self, null
  br i1 %none, label %unlock, label %fill
fill:
  store ptr @pool, ptr %self
  %number = getelementptr i8, ptr %self, i64 8
  store i64 %next, ptr %number
  %grow = getelementptr i8, ptr %self, i64 48
  store ptr @weft_grow, ptr %grow
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @weft_helper, ptr %self)
  %bad = icmp ne i32 %failed, 0
  br i1 %bad, label %drop, label %keep
drop:
  call void @free(ptr %self)
  br label %unlock
keep:
  %id = load i64, ptr %thread
  %detached = call i32 @pthread_detach(i64 %id)
  store i64 %next, ptr @helpers
  br label %more
unlock:
  store atomic i32 0, ptr @guard release, align 4
  call void @weft_entry(ptr %buffers, ptr %symbols, ptr @pool, i64 %count, ptr %slots)
  %arena0 = load ptr, ptr %slots
  %arena1 = load ptr, ptr %slot1
  call void @free(ptr %arena0)
  call void @free(ptr %arena1)
  ret i32 0
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""

_CORES_IN_MASK = """
declare i64 @llvm.ctpop.i64(i64)

define internal i64 @weft_cores() {
start:
  %mask = alloca [$MASK x i8], align 8  ; a system with more cores refuses, which counts as one
  call void @llvm.memset.p0.i64(ptr %mask, i8 0, i64 $MASK, i1 false)
  %failed = call i32 @sched_getaffinity(i32 0, i64 $MASK, ptr %mask)
  br label %word
word:
  %k = phi i64 [ 0, %start ], [ %k.next, %word ]
  %cores = phi i64 [ 0, %start ], [ %sum, %word ]
  %place = getelementptr i8, ptr %mask, i64 %k
  %bits = load i64, ptr %place
  %here = call i64 @llvm.ctpop.i64(i64 %bits)
  %sum = add i64 %cores, %here
  %k.next = add i64 %k, 8
  %last = icmp eq i64 %k.next, $MASK
  br i1 %last, label %done, label %word
done:
  %none = icmp eq i64 %sum, 0
  %result = select i1 %none, i64 1, i64 %sum
  ret i64 %result
}
"""

_CORES_ONLINE = """
declare i64 @sysconf(i32)

define internal i64 @weft_cores() {
  %online = call i64 @sysconf(i32 $PROCESSORS)
  ret i64 %online
}
"""
