"""weft.tune: what it writes, what compile() takes of it, and going on after an interruption."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import weft
from weft.autotune import tuner as tuner_module
from weft.autotune.measure import Limits
from weft.autotune.record import Record, Status, as_data, from_line, to_line
from weft.autotune.store import Records
from weft.autotune.tuner import Tuned, Tuner
from weft.compiler import driver
from weft.compiler.cache import shelf as cache
from weft.compiler.chosen import read_choices
from weft.compiler.kernel import Kernel
from weft.compiler.lower_options import LowerOptions

TEXT = """op shares(x: f32[M, N]) -> (y: f32[M, N]) {
  e[i, j] = exp(x[i, j])
  s[i] = sum[j] e[i, j]
  y[i, j] = e[i, j] / s[i]
}
"""
BIND = {"M": 32, "N": 48}
QUICK = Limits(rounds=2, turn=0.001)


def tuner(folder: Path, text: str = TEXT, bind: dict[str, int] | None = None, **more: Any) -> Tuner:
    inputs = more.pop("inputs", {})
    return Tuner(text, "cpu", bind or BIND, folder, 1, None, None, inputs, QUICK, **more)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuned]:
    folder = tmp_path_factory.mktemp("records")
    return folder, tuner(folder).run(5, 30.0)


def rewritten(source: Path, folder: Path, change: Any) -> None:
    """The record file, each record changed."""
    folder.mkdir()
    (file,) = source.glob("*.jsonl")
    records = [from_line(line) for line in file.read_bytes().splitlines()]
    (folder / file.name).write_bytes(b"".join(to_line(change(r)) for r in records))


def favourite(tuned: Tuned) -> Record:
    """A verified record that is not of the default plan."""
    return next(r for r in tuned.measured if r.status is Status.OK and not r.default)


def only(plan: str) -> Any:
    """Makes one plan the best by far."""
    return lambda r: replace(r, relative=0.1, final=9) if r.plan == plan else r


def schedules(kernel: Kernel) -> str:
    return kernel.text("gir", **BIND)


def test_every_candidate_has_a_verified_record(tuned: tuple[Path, Tuned]) -> None:
    folder, found = tuned
    assert found.counts == {"ok": 5} and found.known == 0
    records = list(Records(folder).all())
    assert len({r.plan for r in records}) == 5 and [r.default for r in records[:2]] == [True, False]
    for r in records:
        assert r.checked == "interpreter" and 0 < r.minimum <= r.seconds and r.baseline > 0 and r.samples > 0
        assert r.bind == (("M", 32), ("N", 48)) and dict(r.errors)["y"] < 1e-5 and r.predicted > 0
        read_choices(r.choices)
    assert found.best is not None and found.best.plan in {r.plan for r in records}


def test_a_second_run_measures_nothing_again(tuned: tuple[Path, Tuned]) -> None:
    folder, first = tuned
    size = first.file.stat().st_size
    again = tuner(folder).run(5, 30.0)
    assert again.known == 5 and again.measured == () and again.best == first.best
    assert first.file.stat().st_size == size


def test_another_environment_is_measured_anew(tuned: tuple[Path, Tuned], tmp_path: Path) -> None:
    rewritten(tuned[0], tmp_path / "r", lambda r: replace(r, environment=replace(r.environment, llvmlite="0.1")))
    again = tuner(tmp_path / "r").run(2, 0.0)
    assert again.known == 0 and len(again.measured) == 2


def test_compile_takes_the_best_record(tuned: tuple[Path, Tuned], tmp_path: Path) -> None:
    wanted = favourite(tuned[1])
    rewritten(tuned[0], tmp_path / "r", only(wanted.plan))
    options = {"target": "cpu", "bind": BIND, "threads": 1}
    plain = weft.compile(TEXT, records=False, **options)
    kernel = weft.compile(TEXT, records=tmp_path / "r", **options)
    assert schedules(kernel) != schedules(plain)
    assert schedules(kernel) == schedules(weft.compile(TEXT, chosen=wanted.chosen, **options))
    x = np.random.default_rng(0).standard_normal((32, 48)).astype(np.float32)
    np.testing.assert_allclose(kernel(x), plain(x), rtol=1e-5)
    # at the first call with these extents as well
    late = weft.compile(TEXT, "cpu", threads=1, records=tmp_path / "r")
    late(x)
    assert schedules(late) == schedules(kernel)


def test_records_are_not_asked(tuned: tuple[Path, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned off, for other threads, other extents, with options of the lowering, by the default setting of tests."""
    rewritten(tuned[0], tmp_path / "r", only(favourite(tuned[1]).plan))
    options: dict[str, Any] = {"target": "cpu", "threads": 1}
    plain = schedules(weft.compile(TEXT, bind=BIND, records=False, **options))
    place = tmp_path / "r"
    for more in ({}, {"records": False}, {"records": place, "threads": 2}, {"records": place, "nodes": 48}):
        assert schedules(weft.compile(TEXT, bind=BIND, **{**options, **more})) == plain
    monkeypatch.setenv("WEFT_RECORDS", str(place))
    assert schedules(weft.compile(TEXT, bind=BIND, **options)) != plain
    other = {"M": 32, "N": 49}
    here, away = (weft.compile(TEXT, bind=other, records=r, **options).text("gir") for r in (True, False))
    assert here == away
    monkeypatch.setenv("WEFT_RECORDS", "off")
    assert schedules(weft.compile(TEXT, bind=BIND, **options)) == plain


def test_a_fingerprint_of_another_machine_is_ignored(tuned: tuple[Path, Tuned], tmp_path: Path) -> None:
    best = only(favourite(tuned[1]).plan)
    rewritten(
        tuned[0], tmp_path / "r", lambda r: replace(best(r), environment=replace(r.environment, processor="other"))
    )
    found, plain = (weft.compile(TEXT, "cpu", bind=BIND, threads=1, records=r) for r in (tmp_path / "r", False))
    assert schedules(found) == schedules(plain)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, plan="0" * 64),
        lambda r: replace(r, alternative="nothing"),
        lambda r: replace(r, choices='{"colour": "red"}'),
        lambda r: replace(r, choices='{"vectors": 3}'),
    ],
)
def test_a_plan_that_comes_out_differently_is_ignored(change: Any, tuned: tuple[Path, Tuned], tmp_path: Path) -> None:
    rewritten(tuned[0], tmp_path / "r", change)
    found, plain = (weft.compile(TEXT, "cpu", bind=BIND, threads=1, records=r) for r in (tmp_path / "r", False))
    assert schedules(found) == schedules(plain)


def test_a_pinned_plan_that_comes_out_differently_is_an_error(tuned: tuple[Path, Tuned]) -> None:
    stale = replace(favourite(tuned[1]).chosen, plan="0" * 64)
    with pytest.raises(weft.ScheduleError, match="no such plan"):
        weft.compile(TEXT, "cpu", bind=BIND, chosen=stale)


def test_damaged_files_never_stop_a_compilation(tuned: tuple[Path, Tuned], tmp_path: Path) -> None:
    (file,) = tuned[0].glob("*.jsonl")
    for n, data in enumerate((b"", b"\xff\x00{", file.read_bytes()[:100], b"[" * 50_000 + b"\n")):
        (tmp_path / str(n)).mkdir()
        (tmp_path / str(n) / file.name).write_bytes(data)
        weft.compile(TEXT, "cpu", bind=BIND, threads=1, records=tmp_path / str(n))
    (tmp_path / "d" / file.name).mkdir(parents=True)
    weft.compile(TEXT, "cpu", bind=BIND, threads=1, records=tmp_path / "d")


def test_the_kernel_cache_sees_the_chosen_plan(
    tuned: tuple[Path, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel from before the tuning does not answer after it; the second compilation after it schedules nothing."""
    monkeypatch.setenv("WEFT_CACHE", "1")
    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path / "cache"))
    scheduled: list[LowerOptions] = []
    lower = driver.lower

    def counted(op: Any, machine: Any, options: LowerOptions) -> Any:
        scheduled.append(options)
        return lower(op, machine, options)

    monkeypatch.setattr(driver, "lower", counted)
    wanted = favourite(tuned[1])
    rewritten(tuned[0], tmp_path / "r", only(wanted.plan))
    texts = []
    for records in (False, tmp_path / "r", tmp_path / "r", False):
        cache.forget()
        texts.append(schedules(weft.compile(TEXT, "cpu", bind=BIND, threads=1, records=records)))
    assert texts[0] == texts[3] != texts[1] == texts[2]
    if cache.cache_key.source_digest() and cache.cache_key.sources_unchanged():  # else nothing is kept
        assert [o.chosen for o in scheduled] == [None, wanted.chosen]


def test_failure_14_tuning_changes_no_array_of_the_user(tmp_path: Path) -> None:
    """Failure 14: candidates run on copies in another process, and each is compared."""
    x = np.random.default_rng(3).standard_normal((32, 48)).astype(np.float32)
    before = x.copy()
    found = tuner(tmp_path, inputs={"x": x}, bind={"M": 32}).run(2, 5.0)
    assert np.array_equal(x, before) and found.counts == {"ok": 2}
    assert found.measured[0].bind == (("M", 32), ("N", 48))  # N from the array


def test_large_extents_are_checked_at_smaller_ones(tmp_path: Path) -> None:
    facts = TEXT.replace("{", "where N % 16 == 0 {", 1)
    found = tuner(tmp_path, facts, {"M": 64, "N": 96}, points=2000).run(2, 5.0)
    assert found.counts == {"ok": 2}
    assert {r.checked for r in found.measured} == {"default plan; interpreter at smaller extents"}


def test_symbols_in_any_order(tmp_path: Path) -> None:
    """Extents are found again whatever the order of symbols, of bindings and of keys in the file."""
    text = "op turn(x: f32[R, B]) -> (y: f32[B, R]) {\n  y[j, i] = x[i, j]\n}\n"
    first = tuner(tmp_path, text, {"R": 24, "B": 40}).run(2, 5.0)
    again = tuner(tmp_path, text, {"B": 40, "R": 24}).run(2, 5.0)
    assert first.best is not None and again.best == first.best
    assert again.known == len(first.measured) and again.measured == ()


def test_index_tensors_and_16_bit_types(tmp_path: Path) -> None:
    text = "op pick(t: bf16[V, N], k: i32[M]) -> (y: bf16[M, N]) {\n  y[i, j] = t[k[i], j]\n}\n"
    found = tuner(tmp_path, text, {"V": 50, "M": 9, "N": 40}).run(2, 5.0)
    assert set(found.counts) == {"ok"}


@pytest.mark.parametrize(
    "more,message",
    [
        ({"bind": {"M": 4}}, "nothing determines symbol 'N'"),
        ({"bind": {"K": 4}}, "no symbol 'K'"),
        ({"inputs": {"z": 1}}, "no input 'z'"),
        ({"inputs": {"x": np.ones((2, 2))}}, "dtype f64"),
        ({"trials": 0}, "trials=0"),
        ({"threads": -1}, "threads=-1"),
        ({"target": "abacus"}, "unknown target"),
    ],
)
def test_requests_that_make_no_sense(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(weft.UserError, match=message):
        weft.tune(TEXT, **{"bind": BIND, "records": tmp_path, **more})


def test_nowhere_to_keep_records() -> None:
    with pytest.raises(weft.UserError, match="turned off"):
        weft.tune(TEXT, bind=BIND)


def test_a_bug_in_one_candidate_ends_no_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best_trials = tuner_module.best_trials

    def with_a_bug(*arguments: Any) -> Any:
        def broken() -> str:
            raise ZeroDivisionError("oops")

        first, second, *others = best_trials(*arguments)
        return [first, replace(second, program=broken), *others]

    monkeypatch.setattr(tuner_module, "best_trials", with_a_bug)
    found = tuner(tmp_path).run(3, 30.0)
    assert found.counts == {"ok": 2, "error": 1}
    assert "ZeroDivisionError: oops" in next(r.detail for r in found.measured if r.status is Status.ERROR)
    assert as_data(found.measured[1])["status"] == "error" and os.path.exists(found.file)
