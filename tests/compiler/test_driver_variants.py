"""One variant per combination of extents, built once however many threads ask for it first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from stub_target import kernel, op, tensor
from weft.compiler.kernel import Kernel, Specialise
from weft.compiler.variants import Variant, Variants
from weft.ir.dtypes import DType
from weft.ir.errors import ScheduleError


def doubling(built: list[dict[str, int]], **options: Any) -> Kernel:
    program = op([tensor("x", DType.F32, "N")], [tensor("y", DType.F32, "N")], ["N"])
    return kernel(program, lambda x, y: np.copyto(y, x + x), built=built, **options)


def ones(n: int) -> np.ndarray[Any, Any]:
    return np.ones(n, np.float32)


def test_auto_builds_one_variant_per_extent() -> None:
    built: list[dict[str, int]] = []
    k = doubling(built)
    for n in (3, 5, 3, 5):
        assert k(ones(n)).tolist() == [2.0] * n
    assert built == [{"N": 3}, {"N": 5}]


def test_never_builds_one_symbolic_variant() -> None:
    built: list[dict[str, int]] = []
    k = doubling(built, specialise=Specialise.NEVER)
    for n in (3, 5, 0):
        assert k(ones(n)).tolist() == [2.0] * n
    assert built == [{}]


def test_variants_are_bounded_least_recently_used_first() -> None:
    built: list[dict[str, int]] = []
    k = doubling(built, limit=2)
    for n in (1, 2, 1, 3, 1, 2):
        k(ones(n))
    assert [b["N"] for b in built] == [1, 2, 3, 2]


def test_threads_that_call_first_compile_once() -> None:
    """Failure 18."""
    built: list[dict[str, int]] = []
    k = doubling(built)
    gate = threading.Barrier(8)
    results: list[Any] = []

    def call() -> None:
        gate.wait()
        results.append(k(ones(4)).tolist())

    workers = [threading.Thread(target=call) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert built == [{"N": 4}]
    assert results == [[2.0] * 4] * 8


def test_threads_with_different_extents_do_not_wait_for_each_other() -> None:
    started = threading.Barrier(2, timeout=10)

    def build(key: Any) -> Variant:
        started.wait()  # passes only when both builds run at the same time
        return Variant(dict(key), None, None)  # type: ignore[arg-type]

    variants = Variants(build, 4)
    workers = [threading.Thread(target=variants.get, args=((("N", n),),)) for n in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(variants) == 2


def failing_first(error: BaseException) -> Callable[[Any], Variant]:
    state = {"calls": 0}

    def build(key: Any) -> Variant:
        state["calls"] += 1
        if state["calls"] == 1:
            time.sleep(0.05)
            raise error
        return Variant(dict(key), None, None)  # type: ignore[arg-type]

    return build


def test_a_failure_reaches_everyone_who_waits_and_is_not_remembered() -> None:
    variants = Variants(failing_first(ScheduleError("no room")), 4)
    failures: list[str] = []

    def ask() -> None:
        try:
            variants.get(())
        except ScheduleError as error:
            failures.append(error.message)

    first, second = threading.Thread(target=ask), threading.Thread(target=ask)
    first.start()
    time.sleep(0.01)
    second.start()
    first.join()
    second.join()
    assert failures == ["no room"] * 2
    assert variants.get(()) is variants.get(())


def test_latest_is_the_one_used_last() -> None:
    k = doubling([])
    k(ones(3))
    k(ones(5))
    k(ones(3))
    assert k.variant().bindings == {"N": 3}
    assert k.variant(N=7).bindings == {"N": 7}


@pytest.mark.parametrize("environment,expected", [("3", 3), ("", None)])
def test_threads_of_a_call(monkeypatch: pytest.MonkeyPatch, environment: str, expected: int | None) -> None:
    monkeypatch.setenv("WEFT_THREADS", environment)
    k = doubling([])
    k(ones(2))
    from weft.backends.host import usable_cores

    assert k.target.runs[-1][1] == (expected or usable_cores())  # type: ignore[attr-defined]


def test_a_forked_child_builds_what_another_thread_was_building() -> None:
    variants: Variants[Any] = Variants(lambda key: Variant(dict(key), None, None), 4)  # type: ignore[arg-type]
    kept = variants.get((("N", 1),))
    variants._entries[("N", 2),] = Future()  # nobody is left to finish it
    variants.after_fork()
    assert variants.get((("N", 1),)) is kept and variants.get((("N", 2),)).bindings == {"N": 2}
