"""The thread run-time as LLVM IR, so that neither a C compiler nor Python threads are needed.

One `pool` (zeroed memory) holds the published loop and the state of the team:

  offset  what
       0  parallel_for's address (kernels call through it)
      16  gate: generation << 32 | open bit 16 | number of helpers inside (bits 0..15)
      24  body, 32 arguments, 40 total, 48 smallest piece, 56 threads, 64 the caller's core
      72  what waking takes, in ns, and 80 when the last loop ended
     192  busy flag
     256  sleepers
     320  mutex, 448 condition variable
     640  homes: for each thread a line with the next iteration and the end of its share
    then  times: for some loops (a hash of body and total), which one it was and how long its work took

`parallel_for` publishes a loop by opening a new generation of the gate, works itself, closes the gate and waits only
for helpers that came in: one that is still asleep is never waited for. A caller that finds the team busy runs its loop
alone. Every thread has a share of the iterations, the same one in every call, so that it finds in its caches what it
had there; it takes pieces of it, first large ones, then small ones, and then pieces of what others have left (guided
self-scheduling, Polychronopoulos and Kuck 1987, in each share).

Who has nothing to do spins for a moment, then gives its core to anyone who wants it at every look, and after SPIN_NS
sleeps on the condition variable: beside other busy teams nothing is taken from them that they could use. Waking a
helper costs the caller microseconds (many, on a virtual machine), and it is some times that until the helper is there:
a loop that took little time the last time it ran wakes nobody, unless loops follow each other so closely that the
helper will be awake for the next one. Where helpers run: placement_ir.py.
"""

from __future__ import annotations

from .placement_ir import placement_ir
from .team_ir import TEAM

MAX_THREADS = 1024
TIMES = 256  # a power of two
TIMES_AT = 640 + 64 * MAX_THREADS
POOL_BYTES = TIMES_AT + 16 * TIMES
OPEN = 1 << 16
SPIN_NS = 50_000  # a helper without work goes to sleep after this
POLITE_NS = 4_000  # who waits longer offers its core to others
LITTLE_NS = 4_000  # of work: not worth a helper
ROUSE_MOST_NS = 25_000  # what waking is believed to take, at most
ROUSE_WORTH = 4  # work that is worth waking a helper, in times that waking takes
LOOKS = 32  # between two looks at the clock
PIECES = 32  # a share's smallest piece is this part of it

_PAUSE = {
    "x86_64": "call void @llvm.x86.sse2.pause()",
    "aarch64": 'call void asm sideeffect "yield", ""()',
}


def is_darwin(triple: str) -> bool:
    return "apple" in triple or "darwin" in triple


def runtime_ir(triple: str) -> str:
    """The module's text for the process's machine."""
    arch = triple.split("-")[0]
    pause = _PAUSE.get({"amd64": "x86_64", "arm64": "aarch64"}.get(arch, arch), "")
    declare = "declare void @llvm.x86.sse2.pause()" if "x86" in pause else ""
    values = {
        "TRIPLE": triple,
        "PAUSE": pause,
        "DECLARE": declare,
        "MONOTONIC": "6" if is_darwin(triple) else "1",  # the number of CLOCK_MONOTONIC
        "OPEN_MASK": str(~OPEN),
        "OPEN": str(OPEN),
        "SPIN_NS": str(SPIN_NS),
        "POLITE_NS": str(POLITE_NS),
        "LOOKS": str(LOOKS),
        "PIECES": str(PIECES),
        "MOST": str(MAX_THREADS),
        "LITTLE_NS": str(LITTLE_NS),
        "ROUSE_MOST": str(ROUSE_MOST_NS),
        "ROUSE_WORTH": str(ROUSE_WORTH),
        "TIMES_AT": str(TIMES_AT),
        "LAST_TIME": str(TIMES - 1),
    }
    text = _BASIS + TEAM + placement_ir(triple)
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${name}", values[name])
    return text


_BASIS = """
target triple = "$TRIPLE"
$DECLARE
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @sched_yield()
declare i32 @clock_gettime(i32, ptr)
declare i32 @posix_memalign(ptr, i64, i64)
declare void @free(ptr)
declare void @abort()
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

; Nanoseconds since some moment.
define internal i64 @clock(ptr %time) {
  %failed = call i32 @clock_gettime(i32 $MONOTONIC, ptr %time)
  %nanoseconds.at = getelementptr i8, ptr %time, i64 8
  %seconds = load i64, ptr %time
  %nanoseconds = load i64, ptr %nanoseconds.at
  %whole = mul i64 %seconds, 1000000000
  %all = add i64 %whole, %nanoseconds
  ret i64 %all
}

; One turn of waiting since `%since` (0 in the first turn): how long it has been, 0 where nobody looked at the clock.
define internal i64 @turn(ptr %since.at, ptr %turns.at, ptr %time) {
start:
  $PAUSE
  %turns = load i64, ptr %turns.at
  %more = add i64 %turns, 1
  store i64 %more, ptr %turns.at
  %part = urem i64 %more, $LOOKS
  %look = icmp eq i64 %part, 0
  br i1 %look, label %ask, label %go
go:
  ret i64 0
ask:
  %now = call i64 @clock(ptr %time)
  %first = icmp eq i64 %more, $LOOKS
  br i1 %first, label %begin, label %compare
begin:
  store i64 %now, ptr %since.at
  ret i64 0
compare:
  %since = load i64, ptr %since.at
  %spent = sub i64 %now, %since
  %long = icmp sgt i64 %spent, $POLITE_NS
  br i1 %long, label %yield, label %back
yield:
  %yielded = call i32 @sched_yield()
  br label %back
back:
  ret i64 %spent
}

; The arena of a slot { pointer, bytes, this function } with room for `%bytes`; its content is lost when it grows.
define ptr @weft_grow(ptr %slot, i64 %bytes) {
start:
  %size.at = getelementptr i8, ptr %slot, i64 8
  %size = load i64, ptr %size.at
  %arena = load ptr, ptr %slot
  %enough = icmp sge i64 %size, %bytes
  br i1 %enough, label %keep, label %grow
keep:
  ret ptr %arena
grow:
  call void @free(ptr %arena)
  store i64 0, ptr %size.at
  store ptr null, ptr %slot
  %failed = call i32 @posix_memalign(ptr %slot, i64 4096, i64 %bytes)
  %bad = icmp ne i32 %failed, 0
  br i1 %bad, label %out, label %ok
out:
  call void @abort()
  unreachable
ok:
  store i64 %bytes, ptr %size.at
  %new = load ptr, ptr %slot
  ret ptr %new
}
"""
