"""The thread run-time under the CPU target: many callers, forks, scratch arenas, any thread count."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import weft
from weft.backends.target import Executable, get_target
from weft.ir.gir_parser import parse_program

ROWS = """
program sums(M, N) {
  tensor x: f32[M, N] input
  tensor y: f32[M] output
  kernel main {
    parallel unit i in 0..M {
      alloc tmp: f32[N] sram
      move<N> tmp[@0] = x[i, @0]
      alloc acc: f32<> reg
      acc = 0.0
      loop j in 0..N {
        v = load tmp[j]
        acc = acc + v
      }
      store y[i] = acc
    }
  }
}
"""


@pytest.fixture(scope="module")
def sums() -> Executable:
    return get_target("cpu").load(parse_program(ROWS))


def call(kernel: Executable, x: np.ndarray, threads: int) -> np.ndarray:
    y = np.full(x.shape[0], np.nan, np.float32)
    kernel([x.ctypes.data, y.ctypes.data], list(x.shape), threads)
    return y


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 8, 40])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 0), (61, 129), (300, 5)])
def test_every_row_once_whatever_the_thread_count(sums: Executable, threads: int, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(1).integers(0, 50, shape).astype(np.float32)
    np.testing.assert_array_equal(call(sums, x, threads), x.sum(1))


def test_scratch_grows_between_calls(sums: Executable) -> None:
    for n in (10, 5000, 3, 70000):
        x = np.ones((5, n), np.float32)
        np.testing.assert_array_equal(call(sums, x, 2), np.full(5, n, np.float32))


def test_calls_from_several_python_threads(sums: Executable) -> None:
    """One program and different ones, on one team of helpers."""
    failures: list[str] = []
    text = "op doubled(x: f32[M, N]) -> (y: f32[M, N]) { y[i, j] = x[i, j] + x[i, j] }"
    doubled = weft.compile(text, threads=3, specialise="never")

    def caller(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(150):
            x = rng.integers(0, 9, (int(rng.integers(1, 60)), int(rng.integers(1, 60)))).astype(np.float32)
            if not np.array_equal(call(sums, x, 1 + seed % 4), x.sum(1)):
                failures.append(f"caller {seed}")
            if seed % 2 and not np.array_equal(doubled(x), x + x):
                failures.append(f"caller {seed}, doubled")

    callers = [threading.Thread(target=caller, args=(k,)) for k in range(6)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert not failures


def test_helpers_that_sleep_wake_again(sums: Executable) -> None:
    x = np.ones((64, 64), np.float32)
    for pause in (0.0, 0.02, 0.0, 0.05):
        time.sleep(pause)
        np.testing.assert_array_equal(call(sums, x, 3), np.full(64, 64, np.float32))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_team_of_its_own(sums: Executable) -> None:
    x, y = np.ones((50, 50), np.float32), np.zeros(50, np.float32)
    call(sums, x, 2)
    bound = sums.bind([x.ctypes.data, y.ctypes.data], [50, 50], 2)  # type: ignore[attr-defined]
    bound()

    def right() -> bool:
        y.fill(0)
        bound()
        return bool((call(sums, x, 2) == 50).all() and (y == 50).all())

    assert in_a_child(right) == 0
    assert right()


def in_a_child(check: Callable[[], bool]) -> int:
    """The exit status of a forked child: 0 where the check holds."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if check() else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity masks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_on_one_core_nobody_waits_for_a_helper(sums: Executable) -> None:
    """A team that is larger than the affinity mask: helpers never keep the caller from its only core for long."""
    x = np.ones((64, 400), np.float32)

    def check() -> bool:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        call(sums, x, 4)
        start = time.perf_counter()
        good = all((call(sums, x, 4) == 400).all() for _ in range(200))
        return good and time.perf_counter() - start < 4

    assert in_a_child(check) == 0


def test_beside_a_busy_pool_of_the_same_process(sums: Executable) -> None:
    """Threads that compute all the time, one for each core: calls take their share of the cores, and not much more."""
    x, heavy = np.ones((64, 400), np.float32), np.ones((512, 4000), np.float32)
    alone = min(timed(sums, x) for _ in range(20))
    stop = False

    def work() -> None:
        while not stop:
            call(sums, heavy, 1)  # outside of the interpreter's lock nearly all the time

    busy = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    for thread in busy:
        thread.start()
    try:
        times = sorted(timed(sums, x) for _ in range(40))
    finally:
        stop = True
        for thread in busy:
            thread.join()
    assert times[len(times) // 2] < 20 * alone + 0.25  # some time slices of a crowded machine


def timed(kernel: Executable, x: np.ndarray) -> float:
    start = time.perf_counter()
    assert (call(kernel, x, 2) == x.shape[1]).all()
    return time.perf_counter() - start


def test_calls_are_cheap() -> None:
    """Bounds with much room; `benchmarks/calls.py` measures."""
    k = weft.compile("op add(x: f32[N], z: f32[N]) -> (y: f32[N]) { y[i] = x[i] + z[i] }", threads=1)
    x = np.ones(16, np.float32)
    bound = k.bind(x, x)
    assert fastest(bound) < 20e-6
    assert fastest(lambda: k(x, x)) < 200e-6
    assert fastest(lambda: k(x, x, out=bound.outputs[0])) < 200e-6


def fastest(run: Callable[[], object]) -> float:
    times = []
    for _ in range(500):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def test_parallel_loops_inside_serial_ones_see_outer_values() -> None:
    """Wavefronts: loop indices, tiles and buffers are captured by the outlined body."""
    program = parse_program("""
program waves(T, N) {
  tensor x: f64[N] input
  tensor y: f64[T, N] output
  kernel main {
    alloc scale: f64<4> reg
    scale = f64(@0)
    loop t in 0..T {
      factor = reduce add scale over 0
      parallel unit i in 0..N {
        v = load x[i]
        store<1> y[t, i + @0] = v * factor + f64(t)
      }
      scale = scale + 1.0_f64
    }
  }
}""")
    x = np.arange(37.0)
    y = np.zeros((5, 37))
    get_target("cpu").load(program)([x.ctypes.data, y.ctypes.data], [5, 37], 2)
    np.testing.assert_array_equal(y, [x * (6 + 4 * t) + t for t in range(5)])


def test_a_parallel_body_is_split_at_its_sync() -> None:
    program = parse_program("""
program shift(G, U) {
  tensor x: i32[G, U] input
  tensor y: i32[G, U] output
  kernel main {
    parallel group g in 0..G {
      alloc s: i32[U] sram
      parallel unit u in 0..U {
        v = load x[g, u]
        store s[u] = v
        sync sram
        w = load s[(u + 1) % U]
        store y[g, u] = w
      }
    }
  }
}""")
    x = np.random.default_rng(0).integers(0, 99, (6, 11)).astype(np.int32)
    y = np.zeros_like(x)
    get_target("cpu").load(program)([x.ctypes.data, y.ctypes.data], list(x.shape), 2)
    np.testing.assert_array_equal(y, np.roll(x, -1, 1))


def test_nested_parallel_loops_share_one_range() -> None:
    program = parse_program("""
program grid(A, B, C) {
  tensor y: i64[A, B, C] output
  kernel main {
    parallel unit a in 0..A {
      parallel unit b in 0..B {
        parallel unit c in 0..C step 2 {
          store y[a, b, c] = a * 100 + b * 10 + c
          store y[a, b, c + 1] = c where c + 1 < C
        }
      }
    }
  }
}""")
    kernel = get_target("cpu").load(program)
    for shape in ((3, 4, 5), (0, 2, 2), (2, 0, 3), (1, 1, 1)):
        y = np.zeros(shape, np.int64)
        kernel([y.ctypes.data], list(shape), 2)
        a, b, c = np.indices(shape)
        np.testing.assert_array_equal(y, np.where(c % 2 == 0, a * 100 + b * 10 + c, c - 1))
