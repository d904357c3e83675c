"""The thread run-time as LLVM IR, so that neither a C compiler nor Python threads are needed.

One `pool` (zeroed memory) holds the published loop and the state of the team:

  offset  what
       0  parallel_for's address (kernels call through it)
      16  gate: generation << 32 | open bit 16 | number of helpers inside (bits 0..15)
      24  body, 32 arguments, 40 total, 48 chunk, 56 limit of helpers
     128  next iteration to hand out (a line of its own)
     192  busy flag
     256  sleepers
     320  mutex, 448 condition variable

`parallel_for` publishes a loop by opening a new generation of the gate, works itself, closes the gate and waits only
for helpers that came in: one that is still asleep is never waited for. Helpers spin for some tens of microseconds
after their last loop, then sleep on the condition variable. A caller that finds the team busy runs its loop alone.
Iterations are handed out in chunks through an atomic counter.
"""

from __future__ import annotations

POOL_BYTES = 640
OPEN = 1 << 16
SPINS = 4000
CHUNKS_PER_THREAD = 8

_PAUSE = {
    "x86_64": "call void @llvm.x86.sse2.pause()",
    "aarch64": 'call void asm sideeffect "yield", ""()',
}


def runtime_ir(triple: str) -> str:
    """The module's text for the process's machine."""
    arch = triple.split("-")[0]
    pause = _PAUSE.get({"amd64": "x86_64", "arm64": "aarch64"}.get(arch, arch), "")
    declare = "declare void @llvm.x86.sse2.pause()" if "x86" in pause else ""
    return (
        _TEXT.replace("$TRIPLE", triple)
        .replace("$PAUSE", pause)
        .replace("$DECLARE", declare)
        .replace("$OPEN_MASK", str(~OPEN))
        .replace("$OPEN", str(OPEN))
        .replace("$SPINS", str(SPINS))
        .replace("$CHUNKS", str(CHUNKS_PER_THREAD))
    )


_TEXT = """
target triple = "$TRIPLE"
$DECLARE
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @sched_yield()
declare i32 @posix_memalign(ptr, i64, i64)
declare void @free(ptr)
declare void @abort()

; Hand out chunks of the published loop until none is left.
define internal void @work(ptr %pool, ptr %slot) {
start:
  %body.at = getelementptr i8, ptr %pool, i64 24
  %arguments.at = getelementptr i8, ptr %pool, i64 32
  %total.at = getelementptr i8, ptr %pool, i64 40
  %chunk.at = getelementptr i8, ptr %pool, i64 48
  %next.at = getelementptr i8, ptr %pool, i64 128
  %body = load ptr, ptr %body.at
  %arguments = load ptr, ptr %arguments.at
  %total = load i64, ptr %total.at
  %chunk = load i64, ptr %chunk.at
  br label %take
take:
  %begin = atomicrmw add ptr %next.at, i64 %chunk monotonic
  %some = icmp slt i64 %begin, %total
  br i1 %some, label %run, label %done
run:
  %far = add i64 %begin, %chunk
  %inside = icmp slt i64 %far, %total
  %end = select i1 %inside, i64 %far, i64 %total
  call void %body(ptr %arguments, i64 %begin, i64 %end, ptr %slot)
  br label %take
done:
  ret void
}

define void @weft_parallel_for(ptr %pool, ptr %body, ptr %arguments, i64 %total, i64 %threads, ptr %slot) {
start:
  %none = icmp slt i64 %total, 1
  br i1 %none, label %done, label %size
size:
  %one = icmp eq i64 %total, 1
  %single = icmp slt i64 %threads, 2
  %alone = or i1 %one, %single
  br i1 %alone, label %serial, label %claim
serial:
  call void %body(ptr %arguments, i64 0, i64 %total, ptr %slot)
  br label %done
claim:
  %busy.at = getelementptr i8, ptr %pool, i64 192
  %claimed = cmpxchg ptr %busy.at, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %claimed, 1
  br i1 %mine, label %publish, label %serial
publish:
  %body.at = getelementptr i8, ptr %pool, i64 24
  %arguments.at = getelementptr i8, ptr %pool, i64 32
  %total.at = getelementptr i8, ptr %pool, i64 40
  %chunk.at = getelementptr i8, ptr %pool, i64 48
  %limit.at = getelementptr i8, ptr %pool, i64 56
  %next.at = getelementptr i8, ptr %pool, i64 128
  %gate.at = getelementptr i8, ptr %pool, i64 16
  %sleepers.at = getelementptr i8, ptr %pool, i64 256
  %mutex = getelementptr i8, ptr %pool, i64 320
  %condition = getelementptr i8, ptr %pool, i64 448
  %parts = mul i64 %threads, $CHUNKS
  %quotient = udiv i64 %total, %parts
  %small = icmp eq i64 %quotient, 0
  %chunk = select i1 %small, i64 1, i64 %quotient
  %limit = sub i64 %threads, 1
  store ptr %body, ptr %body.at
  store ptr %arguments, ptr %arguments.at
  store i64 %total, ptr %total.at
  store i64 %chunk, ptr %chunk.at
  store i64 %limit, ptr %limit.at
  store atomic i64 0, ptr %next.at monotonic, align 8
  %locked = call i32 @pthread_mutex_lock(ptr %mutex)
  %old = load atomic i64, ptr %gate.at monotonic, align 8
  %generation = lshr i64 %old, 32
  %newer = add i64 %generation, 1
  %shifted = shl i64 %newer, 32
  %opened = or i64 %shifted, $OPEN
  store atomic i64 %opened, ptr %gate.at release, align 8
  %sleepers = load i64, ptr %sleepers.at
  %unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)
  %asleep = icmp ne i64 %sleepers, 0
  br i1 %asleep, label %wake, label %help
wake:
  %woken = call i32 @pthread_cond_broadcast(ptr %condition)
  br label %help
help:
  call void @work(ptr %pool, ptr %slot)
  %closed = atomicrmw and ptr %gate.at, i64 $OPEN_MASK acq_rel
  br label %wait
wait:
  %turns = phi i64 [ 0, %help ], [ %turns.next, %spin ], [ 0, %yield ]
  %now = load atomic i64, ptr %gate.at acquire, align 8
  %active = and i64 %now, 65535
  %quiet = icmp eq i64 %active, 0
  br i1 %quiet, label %release, label %patience
patience:
  %long = icmp sgt i64 %turns, $SPINS
  br i1 %long, label %yield, label %spin
spin:
  $PAUSE
  %turns.next = add i64 %turns, 1
  br label %wait
yield:
  %yielded = call i32 @sched_yield()
  br label %wait
release:
  store atomic i32 0, ptr %busy.at release, align 4
  br label %done
done:
  ret void
}

; A helper thread. `%self`: pool, then its scratch arena (32 bytes). It sleeps through generations it does not join.
define ptr @weft_helper(ptr %self) {
start:
  %pool = load ptr, ptr %self
  %slot = getelementptr i8, ptr %self, i64 32
  %gate.at = getelementptr i8, ptr %pool, i64 16
  %limit.at = getelementptr i8, ptr %pool, i64 56
  %sleepers.at = getelementptr i8, ptr %pool, i64 256
  %mutex = getelementptr i8, ptr %pool, i64 320
  %condition = getelementptr i8, ptr %pool, i64 448
  br label %idle
idle:
  %seen = phi i64 [ 0, %start ], [ %generation, %look ], [ %generation, %leave ]
  br label %poll
poll:
  %turns = phi i64 [ 0, %idle ], [ %turns.next, %again ]
  %gate.polled = load atomic i64, ptr %gate.at acquire, align 8
  %generation.polled = lshr i64 %gate.polled, 32
  %fresh = icmp ne i64 %generation.polled, %seen
  br i1 %fresh, label %look.first, label %count
count:
  %turns.next = add i64 %turns, 1
  %tired = icmp sgt i64 %turns.next, $SPINS
  br i1 %tired, label %sleep, label %again
again:
  $PAUSE
  br label %poll
sleep:
  %locked = call i32 @pthread_mutex_lock(ptr %mutex)
  %before = load i64, ptr %sleepers.at
  %more = add i64 %before, 1
  store i64 %more, ptr %sleepers.at
  br label %check
check:
  %gate.checked = load atomic i64, ptr %gate.at acquire, align 8
  %generation.checked = lshr i64 %gate.checked, 32
  %changed = icmp ne i64 %generation.checked, %seen
  br i1 %changed, label %awake, label %doze
doze:
  %slept = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %check
awake:
  %after = load i64, ptr %sleepers.at
  %fewer = sub i64 %after, 1
  store i64 %fewer, ptr %sleepers.at
  %unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %look.first
look.first:
  %gate.first = phi i64 [ %gate.polled, %poll ], [ %gate.checked, %awake ]
  br label %look
look:
  %gate = phi i64 [ %gate.first, %look.first ], [ %gate.retry, %retry ]
  %generation = lshr i64 %gate, 32
  %bit = and i64 %gate, $OPEN
  %open = icmp ne i64 %bit, 0
  %inside = and i64 %gate, 65535
  %limit = load i64, ptr %limit.at
  %room = icmp slt i64 %inside, %limit
  %may = and i1 %open, %room
  br i1 %may, label %enter, label %idle
enter:
  %entered = add i64 %gate, 1
  %swapped = cmpxchg ptr %gate.at, i64 %gate, i64 %entered acq_rel monotonic
  %in = extractvalue { i64, i1 } %swapped, 1
  br i1 %in, label %join, label %retry
retry:
  %gate.retry = extractvalue { i64, i1 } %swapped, 0
  br label %look
join:
  call void @work(ptr %pool, ptr %slot)
  br label %leave
leave:
  %left = atomicrmw sub ptr %gate.at, i64 1 release
  br label %idle
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
