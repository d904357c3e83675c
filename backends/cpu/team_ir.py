"""The team of threads in LLVM IR: taking pieces of a loop, publishing one, and a helper's life.

What is at which offset of `%pool`, and the rules, are told in runtime_ir.py, which replaces the words with `$`.
"""

from __future__ import annotations

TEAM = """
; Take pieces of the published loop until none is left, of the share `%home` first.
define internal void @work(ptr %pool, ptr %slot, i64 %home) {
start:
  %body.at = getelementptr i8, ptr %pool, i64 24
  %arguments.at = getelementptr i8, ptr %pool, i64 32
  %smallest.at = getelementptr i8, ptr %pool, i64 48
  %threads.at = getelementptr i8, ptr %pool, i64 56
  %homes = getelementptr i8, ptr %pool, i64 640
  %body = load ptr, ptr %body.at
  %arguments = load ptr, ptr %arguments.at
  %smallest = load i64, ptr %smallest.at
  %threads = load i64, ptr %threads.at
  br label %share
share:
  %k = phi i64 [ 0, %start ], [ %k.next, %through ]
  %turned = add i64 %home, %k
  %which = urem i64 %turned, %threads
  %next.at = getelementptr [64 x i8], ptr %homes, i64 %which
  %end.at = getelementptr i8, ptr %next.at, i64 8
  %end = load i64, ptr %end.at
  %first = load atomic i64, ptr %next.at monotonic, align 8
  br label %look
look:
  %begin = phi i64 [ %first, %share ], [ %found, %take ], [ %after, %run ]
  %left = sub i64 %end, %begin
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %take, label %through
take:
  %quarter = lshr i64 %left, 2
  %wanted = call i64 @llvm.smax.i64(i64 %quarter, i64 %smallest)
  %size = call i64 @llvm.smin.i64(i64 %wanted, i64 %left)
  %until = add i64 %begin, %size
  %swapped = cmpxchg ptr %next.at, i64 %begin, i64 %until monotonic monotonic
  %found = extractvalue { i64, i1 } %swapped, 0
  %mine = extractvalue { i64, i1 } %swapped, 1
  br i1 %mine, label %run, label %look
run:
  call void %body(ptr %arguments, i64 %begin, i64 %until, ptr %slot)
  %after = load atomic i64, ptr %next.at monotonic, align 8
  br label %look
through:
  %k.next = add i64 %k, 1
  %all = icmp eq i64 %k.next, %threads
  br i1 %all, label %done, label %share
done:
  ret void
}

define void @weft_parallel_for(ptr %pool, ptr %body, ptr %arguments, i64 %total, i64 %asked, ptr %slot) {
start:
  %none = icmp slt i64 %total, 1
  br i1 %none, label %done, label %size
size:
  %most = call i64 @llvm.smin.i64(i64 %asked, i64 $MOST)
  %threads = call i64 @llvm.smin.i64(i64 %most, i64 %total)
  %alone = icmp slt i64 %threads, 2
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
  %time = alloca [2 x i64]
  %since = alloca i64
  %turns = alloca i64
  %body.at = getelementptr i8, ptr %pool, i64 24
  %arguments.at = getelementptr i8, ptr %pool, i64 32
  %total.at = getelementptr i8, ptr %pool, i64 40
  %smallest.at = getelementptr i8, ptr %pool, i64 48
  %threads.at = getelementptr i8, ptr %pool, i64 56
  %homes = getelementptr i8, ptr %pool, i64 640
  %gate.at = getelementptr i8, ptr %pool, i64 16
  %sleepers.at = getelementptr i8, ptr %pool, i64 256
  %mutex = getelementptr i8, ptr %pool, i64 320
  %condition = getelementptr i8, ptr %pool, i64 448
  store i64 0, ptr %turns
  %core.at = getelementptr i8, ptr %pool, i64 64
  %core = call i32 @core()
  store i32 %core, ptr %core.at
  %body.number = ptrtoint ptr %body to i64
  %body.spread = lshr i64 %body.number, 4
  %key = xor i64 %body.number, %total
  %mixed = xor i64 %body.spread, %total
  %row = and i64 %mixed, $LAST_TIME
  %times = getelementptr i8, ptr %pool, i64 $TIMES_AT
  %key.at = getelementptr [16 x i8], ptr %times, i64 %row
  %work.at = getelementptr i8, ptr %key.at, i64 8
  %key.known = load i64, ptr %key.at
  %work.known = load i64, ptr %work.at
  %known = icmp eq i64 %key.known, %key
  %began = call i64 @clock(ptr %time)
  %rousing.at = getelementptr i8, ptr %pool, i64 72
  %rousing = load i64, ptr %rousing.at
  %ended.at = getelementptr i8, ptr %pool, i64 80
  %ended.last = load i64, ptr %ended.at
  %gap = sub i64 %began, %ended.last
  %lonely = icmp sgt i64 %gap, $SPIN_NS
  %worth = mul i64 %rousing, $ROUSE_WORTH
  %short = icmp slt i64 %work.known, %worth
  %little = icmp slt i64 %work.known, $LITTLE_NS
  %not.now = and i1 %short, %lonely
  %not.worth = or i1 %little, %not.now
  %nap = and i1 %known, %not.worth
  %share = udiv i64 %total, %threads
  %rest = urem i64 %total, %threads
  %part = udiv i64 %share, $PIECES
  %smallest = call i64 @llvm.smax.i64(i64 %part, i64 1)
  store ptr %body, ptr %body.at
  store ptr %arguments, ptr %arguments.at
  store i64 %total, ptr %total.at
  store i64 %smallest, ptr %smallest.at
  store i64 %threads, ptr %threads.at
  br label %divide
divide:
  %k = phi i64 [ 0, %publish ], [ %k.next, %divide ]
  %from = phi i64 [ 0, %publish ], [ %until, %divide ]
  %next.at = getelementptr [64 x i8], ptr %homes, i64 %k
  %end.at = getelementptr i8, ptr %next.at, i64 8
  %one.more = icmp ult i64 %k, %rest
  %extra = zext i1 %one.more to i64
  %end.even = add i64 %from, %share
  %until = add i64 %end.even, %extra
  store atomic i64 %from, ptr %next.at monotonic, align 8
  store i64 %until, ptr %end.at
  %k.next = add i64 %k, 1
  %divided = icmp eq i64 %k.next, %threads
  br i1 %divided, label %open, label %divide
open:
  %locked = call i32 @pthread_mutex_lock(ptr %mutex)
  %old = load atomic i64, ptr %gate.at monotonic, align 8
  %generation = lshr i64 %old, 32
  %newer = add i64 %generation, 1
  %shifted = shl i64 %newer, 32
  %opened = or i64 %shifted, $OPEN
  store atomic i64 %opened, ptr %gate.at release, align 8
  %sleepers = load i64, ptr %sleepers.at
  %unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)
  %helpers = sub i64 %threads, 1
  %useful = call i64 @llvm.smin.i64(i64 %sleepers, i64 %helpers)
  %calls = select i1 %nap, i64 0, i64 %useful
  br label %rouse
rouse:
  %woken = phi i64 [ 0, %open ], [ %woken.next, %wake ]
  %from.then = phi i64 [ %began, %open ], [ %from.now, %wake ]
  %enough = icmp sge i64 %woken, %calls
  br i1 %enough, label %help, label %wake
wake:
  %signalled = call i32 @pthread_cond_signal(ptr %condition)
  %woken.next = add i64 %woken, 1
  %from.now = call i64 @clock(ptr %time)
  %took = sub i64 %from.now, %from.then
  %took.most = call i64 @llvm.smin.i64(i64 %took, i64 $ROUSE_MOST)
  %rousing.before = load i64, ptr %rousing.at
  %change = sub i64 %took.most, %rousing.before
  %some = sdiv i64 %change, 4
  %rousing.after = add i64 %rousing.before, %some
  store i64 %rousing.after, ptr %rousing.at
  br label %rouse
help:
  call void @work(ptr %pool, ptr %slot, i64 0)
  %closed = atomicrmw and ptr %gate.at, i64 $OPEN_MASK acq_rel
  %ended = call i64 @clock(ptr %time)
  %elapsed = sub i64 %ended, %began
  %came = and i64 %closed, 65535
  %workers = add i64 %came, 1
  %work = mul i64 %elapsed, %workers
  store i64 %ended, ptr %ended.at
  store i64 %key, ptr %key.at
  store i64 %work, ptr %work.at
  br label %wait
wait:
  %now = load atomic i64, ptr %gate.at acquire, align 8
  %active = and i64 %now, 65535
  %quiet = icmp eq i64 %active, 0
  br i1 %quiet, label %release, label %patience
patience:
  %spent = call i64 @turn(ptr %since, ptr %turns, ptr %time)
  br label %wait
release:
  store atomic i32 0, ptr %busy.at release, align 4
  br label %done
done:
  ret void
}

; A helper thread. `%self`: pool, its number (from 1), at 32 its scratch arena, at 64 its masks. It sleeps through
; generations that it does not join.
define ptr @weft_helper(ptr %self) {
start:
  %time = alloca [2 x i64]
  %since = alloca i64
  %turns = alloca i64
  %pool = load ptr, ptr %self
  %number.at = getelementptr i8, ptr %self, i64 8
  %number = load i64, ptr %number.at
  %slot = getelementptr i8, ptr %self, i64 32
  %gate.at = getelementptr i8, ptr %pool, i64 16
  %threads.at = getelementptr i8, ptr %pool, i64 56
  %sleepers.at = getelementptr i8, ptr %pool, i64 256
  %mutex = getelementptr i8, ptr %pool, i64 320
  %condition = getelementptr i8, ptr %pool, i64 448
  br label %idle
idle:
  %seen = phi i64 [ 0, %start ], [ %generation, %look ], [ %generation, %leave ]
  store i64 0, ptr %turns
  br label %poll
poll:
  %gate.polled = load atomic i64, ptr %gate.at acquire, align 8
  %generation.polled = lshr i64 %gate.polled, 32
  %fresh = icmp ne i64 %generation.polled, %seen
  br i1 %fresh, label %look.first, label %count
count:
  %spent = call i64 @turn(ptr %since, ptr %turns, ptr %time)
  %tired = icmp sgt i64 %spent, $SPIN_NS
  br i1 %tired, label %sleep, label %poll
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
  %core.at = getelementptr i8, ptr %pool, i64 64
  %core = load i32, ptr %core.at
  %useful = call i1 @leave_core(ptr %self, i32 %core)
  %gate.first = load atomic i64, ptr %gate.at acquire, align 8
  br label %look
look:
  %gate = phi i64 [ %gate.first, %look.first ], [ %gate.retry, %retry ]
  %generation = lshr i64 %gate, 32
  %bit = and i64 %gate, $OPEN
  %open = icmp ne i64 %bit, 0
  %inside = and i64 %gate, 65535
  %threads = load i64, ptr %threads.at
  %rank = add i64 %inside, 1
  %room = icmp slt i64 %rank, %threads
  %possible = and i1 %open, %room
  %may = and i1 %possible, %useful
  br i1 %may, label %enter, label %idle
enter:
  %entered = add i64 %gate, 1
  %swapped = cmpxchg ptr %gate.at, i64 %gate, i64 %entered acq_rel acquire
  %in = extractvalue { i64, i1 } %swapped, 1
  br i1 %in, label %join, label %retry
retry:
  %gate.retry = extractvalue { i64, i1 } %swapped, 0
  br label %look
join:
  %member = icmp slt i64 %number, %threads
  %home = select i1 %member, i64 %number, i64 %rank
  call void @work(ptr %pool, ptr %slot, i64 %home)
  br label %leave
leave:
  %left = atomicrmw sub ptr %gate.at, i64 1 release
  br label %idle
}
"""
