"""Failure 19: every input of a compilation changes the key of the cache, and nothing else does."""

# ruff: noqa: F821, F722, UP037
# mypy: ignore-errors

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from weft.backends.c import target as c_target
from weft.backends.c import toolchain
from weft.backends.cpu import target as cpu_target
from weft.backends.machine import Machine
from weft.backends.target import get_target
from weft.compiler import front
from weft.compiler.cache import key as cache_key
from weft.compiler.cache.key import key_text
from weft.compiler.lower import LowerOptions
from weft.settings import Settings

TEXT = "op demo(x: f32[M, N]) -> (y: f32[M]) where N >= 1 { y[i] = sum[j] x[i, j] * 2.0 }"
MACHINE = get_target("cpu").machine


class Given:
    """A target of which everything can be said."""

    def __init__(self, name: str, machine: Machine) -> None:
        self.name = name
        self.machine = machine


def key(
    source: Any = TEXT,
    bind: Mapping[str, int] = {"M": 4, "N": 8},
    schedule: LowerOptions | None = None,
    name: str = "cpu",
    machine: Machine = MACHINE,
    identity: Mapping[str, str] = {"llvm": "1", "features": "+a"},
    sources: str = "s",
) -> str:
    return key_text(front.read(source), bind, schedule, Given(name, machine), identity, sources)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "old,new",
    [
        ("op demo", "op other"),
        ("x: f32", "x: f64"),
        ("2.0", "2.0000001"),
        ("sum[j]", "max[j]"),
        ("N >= 1", "N >= 2"),
        ("[M, N]", "[M, N + 1]"),
        ("x[i, j]", "x[0, j]"),
        ("y[i] =", "y[i] = 1.0 +"),
        ("demo(x", "demo(w: f32[M], x"),
    ],
)
def test_failure_19_the_program(old: str, new: str) -> None:
    assert old in TEXT and key(TEXT.replace(old, new)) != key()


def test_failure_19_bindings_and_symbols_that_stay_open() -> None:
    keys = [key(bind=b) for b in ({}, {"M": 4}, {"N": 4}, {"M": 4, "N": 8}, {"M": 8, "N": 4}, {"M": 4, "N": 9})]
    assert len(set(keys)) == len(keys)


def changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case None:
            return 1
        case tuple():
            return (*value, 1)
        case Enum():
            return next(other for other in type(value) if other is not value)
    raise AssertionError(f"teach this test about {value!r}")


@pytest.mark.parametrize("field", [f.name for f in fields(LowerOptions)])
def test_failure_19_options_of_the_lowering(field: str) -> None:
    options = LowerOptions()
    assert key(schedule=replace(options, **{field: changed(getattr(options, field))})) != key()
    assert key(schedule=options) == key(schedule=None)


@pytest.mark.parametrize("field", [f.name for f in fields(Machine)])
def test_failure_19_the_machine(field: str) -> None:
    assert key(machine=replace(MACHINE, **{field: changed(getattr(MACHINE, field))})) != key()


def test_failure_19_target_identity_sources_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [key(), key(name="cpu:avx2"), key(sources="t"), key(identity={"llvm": "2", "features": "+a"})]
    keys += [key(identity={"llvm": "1", "features": "+a,+b"}), key(identity={"llvm": "1"})]
    monkeypatch.setattr(cache_key, "version", lambda: "9.9")
    keys.append(key())
    monkeypatch.setattr(cache_key, "SCHEMA", 99)
    keys.append(key())
    monkeypatch.setattr(cache_key.np, "__version__", "9.9")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_a_scheduled_program_is_another_thing() -> None:
    from weft.compiler.driver import lower_op

    scheduled = lower_op(front.read(TEXT), {"M": 4, "N": 8}, get_target("cpu"), LowerOptions()).program  # type: ignore[arg-type]
    target: Any = Given("cpu", MACHINE)
    keys = {key_text(scheduled, b, s, target, {}, "s") for b in ({}, {"M": 1}) for s in (None, LowerOptions())}
    assert len(keys) == 2  # its bindings matter; how an op would be scheduled does not


FUNCTIONS = """
fn score(s, d) = s * 0.5 if d >= 0 else -inf
monoid lse(m: f32, s: f32) {
  identity (-inf, 0.0)
  combine(a, b) = (max(a.m, b.m), a.s * exp(a.m - max(a.m, b.m)) + b.s * exp(b.m - max(a.m, b.m)))
}
op norm(q: f32[S, D]) -> (z: f32[S]) {
  s[i, j] = score(q[i, j], i - j)
  (m, l)[i] = lse[j] (s[i, j], 1.0)
  z[i] = m[i] + log(l[i])
}
"""


@pytest.mark.parametrize(
    "old,new", [("0.5", "0.25"), ("else -inf", "else -9.0"), ("(-inf, 0.0)", "(-inf, 1.0)"), ("exp(b.m", "exp2(b.m")]
)
def test_failure_19_functions_and_monoids(old: str, new: str) -> None:
    assert old in FUNCTIONS and key(FUNCTIONS.replace(old, new), {}) != key(FUNCTIONS, {})


def test_failure_19_globals_of_python() -> None:
    """A number from outside of a function is part of its op."""
    from weft.ir.python_front import op

    found = []
    for scale in (0.5, 0.25):

        @op
        def times(x: "f32[N]") -> "y: f32[N]":
            y[i] = scale * x[i]  # noqa: B023

        found.append(key(times, {}))
    assert found[0] != found[1]


def test_failure_19_every_setting_is_in_the_key_or_changes_no_code() -> None:
    """Whoever adds a setting decides which. In the key: the machine description, and the C compiler's identity."""
    in_key = {"machine", "machine_dir", "cc"}
    no_code = {"target", "threads", "variants", "cache", "cache_dir", "cache_bytes"}
    no_code |= {"huge_pages", "pool_bytes", "poison", "verify", "records"}  # a record is in the key as options
    assert {f.name for f in fields(Settings)} == in_key | no_code


def test_layout_and_comments_do_not_matter() -> None:
    spread = "# a sum\n" + TEXT.replace("{", "{\n\n  ").replace("*", "  *   ")
    assert key(spread) == key()
    assert key(bind={"N": 8, "M": 4}) == key()


def test_failure_19_the_processor_of_the_cpu_target(monkeypatch: pytest.MonkeyPatch) -> None:
    identities = [get_target("cpu").identity(), get_target("cpu:simd128").identity()]  # type: ignore[attr-defined]
    monkeypatch.setattr(cpu_target, "versions", lambda: {"llvmlite": "9", "llvm": "9"})
    identities.append(get_target("cpu").identity())  # type: ignore[attr-defined]
    monkeypatch.setattr(cpu_target, "libc", lambda: "glibc 9")
    identities.append(get_target("cpu").identity())  # type: ignore[attr-defined]
    target: Any = get_target("cpu")
    target.__dict__["processor"] = replace(target.processor, features="+nothing")
    identities.append(target.identity())
    assert len({str(sorted(i.items())) for i in identities}) == len(identities)


def test_failure_19_the_compiler_of_the_c_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its path, command, file, version, flags, what it listens to, and the processor that -march=native stands for."""

    def compiler(version: str) -> None:
        path = tmp_path / "cc"
        path.write_text(f"#!/bin/sh\necho {version}\n")
        path.chmod(0o755)

    def identity() -> str:
        return str(sorted(get_target("c").identity().items()))  # type: ignore[attr-defined]

    compiler("one")
    monkeypatch.setenv("WEFT_CC", str(tmp_path / "cc"))
    found = [identity()]
    assert "'says', 'one\\n'" in found[0]
    compiler("other")
    found.append(identity())
    monkeypatch.setenv("WEFT_CC", f"{tmp_path / 'cc'} -O1")
    found.append(identity())
    monkeypatch.setenv("CPATH", "/somewhere")
    found.append(identity())
    monkeypatch.setattr(c_target, "FLAGS", [*toolchain.FLAGS, "-O1"])
    found.append(identity())
    monkeypatch.setattr(c_target, "cpu_flags", lambda: frozenset({"abacus"}))
    found.append(identity())
    monkeypatch.setattr(c_target, "libc", lambda: "glibc 9")
    found.append(identity())
    assert len(set(found)) == len(found)
    assert get_target("c:sanitize").identity() is None  # type: ignore[attr-defined]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ir/a.py", "compiler/passes/b.py", "backends/machines/m.toml", "backends/c/h.h", "tests/t.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1, 1))
    monkeypatch.setattr(cache_key, "ROOT", tmp_path)
    return tmp_path


def digest() -> str | None:
    cache_key.source_digest.cache_clear()
    try:
        return cache_key.source_digest()
    finally:
        cache_key.source_digest.cache_clear()


def test_failure_19_the_sources_of_weft(sources: Path) -> None:
    """Two versions, or two states of a checkout, have different keys, also where no file's size or time differs."""
    found = [digest()]
    for name in ("ir/a.py", "compiler/passes/b.py", "backends/machines/m.toml", "backends/c/h.h"):
        (sources / name).write_text(name.upper())
        os.utime(sources / name, (1, 1))
        found.append(digest())
    (sources / "ir/a.py").rename(sources / "ir/z.py")
    found.append(digest())
    assert None not in found and len(set(found)) == len(found)
    (sources / "tests/t.py").write_text("other")
    (sources / "ir/__pycache__").mkdir()
    (sources / "ir/__pycache__/a.py").write_text("other")
    os.utime(sources / "ir/z.py", (5, 5))
    assert digest() == found[-1]


def test_sources_that_change_while_a_process_runs(sources: Path) -> None:
    """What such a process makes may be of the old state or the new: it is not kept under either's name."""
    assert digest() is not None and cache_key.sources_unchanged()
    (sources / "ir/a.py").write_text("newer")
    assert digest() is None and not cache_key.sources_unchanged()


def test_without_sources_there_is_no_key(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_key, "ROOT", sources / "tests")
    assert digest() is None
    (sources / "tests/ir").mkdir()
    (sources / "tests/compiler").mkdir()
    (sources / "tests/backends").mkdir()
    assert digest() is None


def test_failure_20_the_same_key_under_every_hash_seed() -> None:
    """Failure 20."""
    code = (
        "from weft.compiler import front; from weft.compiler.cache import key as cache_key\n"
        "from weft.backends.target import get_target\n"
        f"op = front.read({TEXT!r})\n"
        "for name in ('cpu', 'c'):\n"
        "    t = get_target(name)\n"
        "    print(cache_key.key_text(op, {'N': 8, 'M': 4}, None, t, t.identity(), 's'))\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(texts) == 1 and TEXT.split("{")[0][:8] in texts.pop()
