"""Where helper threads run, as LLVM IR of the thread run-time.

A scheduler likes to wake a thread on the core of the one that wakes it: there it takes the caller's time instead of
helping. A helper that finds itself on the caller's core therefore leaves it, by taking that core out of its affinity
mask; it moves again when the caller has moved to where it is. A mask that somebody else has set since is respected.
Only Linux tells where a thread runs; elsewhere helpers stay where they are put.
"""

from __future__ import annotations

MASK_BYTES = 128  # 1024 cores; on a system with more, helpers stay where they are put
SELF_BYTES = 64 + 2 * MASK_BYTES  # a helper's own memory: at 64 the mask it may use, then the one it has set


def placement_ir(triple: str) -> str:
    """`@core()`: the core of this thread, or -1. `@leave_core(self, core)`: whether a helper may run beside a caller
    on that core, which it has left if it was there."""
    return (_LINUX if "linux" in triple else _ELSEWHERE).replace("$MASK", str(MASK_BYTES))


_ELSEWHERE = """
define internal i32 @core() {
  ret i32 -1
}
define internal i1 @leave_core(ptr %self, i32 %core) {
  ret i1 true
}
"""

_LINUX = """
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
declare i32 @memcmp(ptr, ptr, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal i32 @core() {
  %core = call i32 @sched_getcpu()
  ret i32 %core
}

define internal i1 @leave_core(ptr %self, i32 %core) {
start:
  %now = alloca [$MASK x i8], align 8
  %own = call i32 @sched_getcpu()
  %there = icmp eq i32 %own, %core
  br i1 %there, label %ask, label %fine
ask:
  %allowed = getelementptr i8, ptr %self, i64 64
  %chosen = getelementptr i8, ptr %allowed, i64 $MASK
  %unknown = call i32 @sched_getaffinity(i32 0, i64 $MASK, ptr %now)
  %known = icmp eq i32 %unknown, 0
  br i1 %known, label %compare, label %fine
compare:
  %differs = call i32 @memcmp(ptr %now, ptr %chosen, i64 $MASK)
  %ours = icmp eq i32 %differs, 0
  br i1 %ours, label %choose, label %adopt
adopt:
  call void @llvm.memcpy.p0.p0.i64(ptr %allowed, ptr %now, i64 $MASK, i1 false)
  br label %choose
choose:
  call void @llvm.memcpy.p0.p0.i64(ptr %now, ptr %allowed, i64 $MASK, i1 false)
  %number = zext i32 %core to i64
  %byte = lshr i64 %number, 3
  %small = trunc i64 %number to i8
  %bit = and i8 %small, 7
  %one = shl i8 1, %bit
  %rest = xor i8 %one, -1
  %inside = icmp ult i64 %byte, $MASK
  br i1 %inside, label %clear, label %fine
clear:
  %place = getelementptr i8, ptr %now, i64 %byte
  %before = load i8, ptr %place
  %after = and i8 %before, %rest
  store i8 %after, ptr %place
  br label %count
count:
  %k = phi i64 [ 0, %clear ], [ %k.next, %count ]
  %some = phi i64 [ 0, %clear ], [ %union, %count ]
  %word.at = getelementptr i8, ptr %now, i64 %k
  %word = load i64, ptr %word.at
  %union = or i64 %some, %word
  %k.next = add i64 %k, 8
  %last = icmp eq i64 %k.next, $MASK
  br i1 %last, label %decide, label %count
decide:
  %nowhere = icmp eq i64 %union, 0
  br i1 %nowhere, label %stay, label %move
stay:
  ret i1 false
move:
  %refused = call i32 @sched_setaffinity(i32 0, i64 $MASK, ptr %now)
  %moved = icmp eq i32 %refused, 0
  br i1 %moved, label %note, label %fine
note:
  call void @llvm.memcpy.p0.p0.i64(ptr %chosen, ptr %now, i64 $MASK, i1 false)
  br label %fine
fine:
  ret i1 true
}
"""
