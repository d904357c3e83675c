"""The kernel cache from outside: a second process compiles nothing, and whatever is wrong with it, kernels compile."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import weft
from weft.backends.cpu import target as cpu_target
from weft.compiler import driver
from weft.compiler.cache import key as cache_key
from weft.compiler.cache import shelf as cache
from weft.compiler.cache import store as cache_store
from weft.compiler.cache.shelf import CacheWarning
from weft.compiler.commands.doctor import examine

ROOT = Path(__file__).resolve().parents[2]
TEXT = "op doubled(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] + x[i] }"
TWO_STEPS = "op two(x: f32[M, N]) -> (y: f32[M, N]) { s[i] = sum[j] x[i, j]\n y[i, j] = x[i, j] - s[i] }"
X = np.arange(5, dtype=np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an empty cache in use. Somebody may be editing the sources that these tests run on."""
    monkeypatch.setenv("WEFT_CACHE", "1")
    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache_key, "source_digest", lambda: "sources")
    monkeypatch.setattr(cache_key, "sources_unchanged", lambda: True)
    monkeypatch.setattr(cache, "_WARNED", set())
    monkeypatch.setattr(cache, "_WRITTEN", {})
    cache.forget()
    yield tmp_path / "cache" / "kernels"
    cache.forget()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compiled: "lower" and "code"."""
    done: list[str] = []

    def counted(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            done.append(what)
            return function(*arguments)

        return call

    monkeypatch.setattr(driver, "lower", counted("lower", driver.lower))
    monkeypatch.setattr(cpu_target, "process_code", counted("code", cpu_target.process_code))
    return done


def doubled(**options: Any) -> weft.Kernel:
    kernel = weft.compile(TEXT, **options)
    np.testing.assert_array_equal(kernel(X), X + X)
    return kernel


def entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_compiled_once_in_a_process(folder: Path, work: list[str]) -> None:
    first = doubled()
    second = doubled(threads=1)
    assert work == ["lower", "code"]
    assert second.variant(N=5) is first.variant(N=5)
    second(X[:3])
    assert work == ["lower", "code"] * 2


def test_compiled_once_on_disk(folder: Path, work: list[str]) -> None:
    doubled()
    cache.forget()
    doubled()
    assert work == ["lower", "code"] and len(entries(folder)) == 1


def test_what_was_only_scheduled_is_kept_too(folder: Path, work: list[str]) -> None:
    text = weft.compile(TEXT, bind={"N": 5}).text("gir")
    cache.forget()
    assert weft.compile(TEXT, bind={"N": 5}).text("gir") == text and work == ["lower"]
    cache.forget()
    for _ in range(2):
        doubled(bind={"N": 5})
        cache.forget()
    assert work == ["lower", "code"] and len(entries(folder)) == 1


def test_what_comes_from_disk_can_still_be_looked_at(folder: Path, tmp_path: Path, work: list[str]) -> None:
    fresh = weft.compile(TWO_STEPS, bind={"M": 4, "N": 8})
    x = np.ones((4, 8), np.float32)
    expected = fresh(x)
    cache.forget()
    found = weft.compile(TWO_STEPS, bind={"M": 4, "N": 8})
    np.testing.assert_array_equal(found(x), expected)
    assert work == ["lower", "code"]
    for form in ("op", "gir", "graph"):
        assert found.text(form) == fresh.text(form)
    assert found.source == fresh.source and found.cost() == fresh.cost()
    saved = found.save(tmp_path / "saved", ["source", "manifest"])
    np.testing.assert_array_equal(weft.load(saved)(x), expected)


def test_symbols_that_stay_open(folder: Path, work: list[str]) -> None:
    for _ in range(2):
        kernel = weft.compile(TEXT, specialise="never")
        for n in (5, 3, 0):
            np.testing.assert_array_equal(kernel(X[:n]), X[:n] * 2)
        cache.forget()
    assert work == ["lower", "code"]


def test_temporaries_of_a_kernel_from_disk(folder: Path) -> None:
    """The interface of an entry has the tensors that a call must allocate."""
    text = weft.compile(TWO_STEPS, bind={"M": 4, "N": 8}, search=False).text("gir")
    x = np.ones((4, 8), np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(weft.compile(text)(x), x - 8)
        cache.forget()


def test_hand_scheduled_and_saved_programs(folder: Path, tmp_path: Path, work: list[str]) -> None:
    saved = doubled(bind={"N": 5}).save(tmp_path / "saved", ["manifest"])
    text = weft.load(saved).text("gir")
    for _ in range(2):
        np.testing.assert_array_equal(weft.load(saved)(X), X + X)
        np.testing.assert_array_equal(weft.compile(text)(X), X + X)
        cache.forget()
    assert work == ["lower", "code", "code", "code"]  # the op, what was saved with its bindings, the text


def test_the_c_target(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    from weft.backends.c import target as c_target

    calls: list[None] = []
    build = c_target.build
    monkeypatch.setattr(c_target, "build", lambda *a: calls.append(None) or build(*a))
    doubled(target="c")
    cache.forget()
    kernel = doubled(target="c")
    assert len(calls) == 1 and "weft" in kernel.source
    doubled(target="c:libm")
    assert len(calls) == 2 and len(entries(folder)) == 2
    doubled(target="c:sanitize")
    assert len(entries(folder)) == 2


def test_turned_off(folder: Path, work: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    doubled(cache=False)
    for name, value in (("WEFT_CACHE", "0"), ("WEFT_CACHE_DIR", "off"), ("WEFT_CACHE_BYTES", "0")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            doubled()
    assert work == ["lower", "code"] * 4 and entries(folder) == []


def test_failure_18_threads_that_compile_the_same_compile_once(folder: Path, work: list[str]) -> None:
    """Failure 18: first call and compile from several threads, in memory and from disk."""
    for _ in range(2):
        gate = threading.Barrier(8)
        results: list[Any] = []

        def call(gate: threading.Barrier = gate, results: list[Any] = results) -> None:
            gate.wait()
            results.append(weft.compile(TEXT)(X).tolist())

        workers = [threading.Thread(target=call) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert results == [(X + X).tolist()] * 8
        cache.forget()
    assert work == ["lower", "code"]


def test_damaged_entries_are_written_anew(folder: Path, work: list[str]) -> None:
    """Failure 17: truncated, changed, empty, or made by somebody who knows the digest."""
    doubled()
    path = folder / entries(folder)[0]
    whole = path.read_bytes()
    key = cache_store.json.loads(whole.split(b"\n", 2)[1])["key"]
    parts = cache_store.decode(whole, key)
    assert parts is not None
    damages = [whole[:-1], whole[: len(whole) // 2], b"", whole.replace(b"program", b"pr0gram", 1)]
    for change in ({"interface": b"program"}, {"interface": b"\xff"}, {"code": b""}, {"code": b"no object file"}):
        damages.append(cache_store.encode(key, parts | change))
    damages.append(cache_store.encode(key, {"code": parts["code"]}))
    for count, damage in enumerate(damages, 2):
        path.write_bytes(damage)
        cache.forget()
        doubled()
        assert work == ["lower", "code"] * count and path.read_bytes() == whole


def test_failure_29_the_cache_stays_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 29."""
    doubled()
    size = (folder / entries(folder)[0]).stat().st_size
    monkeypatch.setenv("WEFT_CACHE_BYTES", str(3 * size))
    kernel = weft.compile(TEXT)
    for n in range(1, 12):
        kernel(np.zeros(n, np.float32))
        assert sum((folder / e).stat().st_size for e in entries(folder)) <= 3 * size


def warned(folder: Path, match: str) -> None:
    """Compiles twice with exactly one warning, which says `match`."""
    with pytest.warns(CacheWarning, match=match) as found:
        for _ in range(2):
            doubled()
            cache.forget()
    assert len(found) == 1


def test_a_full_disk(folder: Path, work: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache_store.os, "fsync", full)
    warned(folder, "not written to: .*No space left on device")
    assert work == ["lower", "code"] * 2 and entries(folder) == []


def test_a_limit_on_the_size_of_files(folder: Path, work: list[str]) -> None:
    doubled(cache=False)  # what else has to be written is
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.warns(CacheWarning, match="not written to: .*File too large"):
            doubled()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert entries(folder) == []


def test_failure_22_a_directory_open_to_others(folder: Path, work: list[str]) -> None:
    """Failure 22: what others may have put there is not run."""
    doubled()
    folder.chmod(0o777)
    cache.forget()
    warned(folder, r"not used: kernels can be written to by others \(mode 0777\)")
    assert work == ["lower", "code"] * 3


def test_failure_22_a_linked_directory(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled()
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path / "link"))
    cache.forget()
    warned(folder, "not used: .*link is a symbolic link")


def test_warnings_as_errors_do_not_stop_a_compilation(folder: Path) -> None:
    doubled()
    folder.chmod(0o777)
    cache.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        doubled()


def test_sources_that_changed_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_key, "sources_unchanged", lambda: False)
    doubled()
    assert entries(folder) == []


def test_cleared_while_something_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def cleared_first(*names: Any, **folders: Any) -> None:
        place = cache.store()
        assert place is not None
        place.clear()
        replace(*names, **folders)

    monkeypatch.setattr(cache_store.os, "replace", cleared_first)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        doubled()


def test_what_is_said_about_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled()
    rows = cache.describe()
    assert rows["entries"] == 1 and rows["directory"] == str(folder) and rows["state"] == "in use"
    assert examine()["kernel cache"] == rows
    folder.chmod(0o777)
    assert str(cache.describe()["state"]).startswith("not used: kernels can be written to by others")
    monkeypatch.setenv("WEFT_CACHE", "0")
    assert str(cache.describe()["state"]).startswith("turned off")


def test_a_directory_that_cannot_be_written_to(folder: Path, work: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    doubled()
    real = os.open

    def refuse(path: Any, flags: int, *more: Any, **folders: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *more, **folders)

    monkeypatch.setattr(cache_store.os, "open", refuse)
    monkeypatch.setattr(cache_store.os, "utime", lambda *a, **k: (_ for _ in ()).throw(OSError(errno.EROFS, "")))
    cache.forget()
    doubled()  # found
    assert work == ["lower", "code"]
    with pytest.warns(CacheWarning, match="not written to: .*Read-only file system"):
        weft.compile(TEXT)(X[:2])


def test_a_home_that_does_not_exist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CACHE_DIR", "/proc/nowhere/cache")
    warned(folder, "not used: /proc/nowhere/cache: No such file or directory")


def test_modes_of_what_is_made(folder: Path) -> None:
    doubled()
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (folder.parent, folder, folder / entries(folder)[0])]
    assert modes == [0o700, 0o700, 0o600]


def test_after_a_fork(folder: Path, work: list[str]) -> None:
    """A child of a process with kernels in memory uses them, and compiles more."""
    doubled()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            doubled()
            np.testing.assert_array_equal(weft.compile(TEXT)(X[:2]), X[:2] * 2)
            code = 0 if work == ["lower", "code"] * 2 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
