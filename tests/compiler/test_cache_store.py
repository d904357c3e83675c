"""Files of the kernel cache: whole or absent, private, bounded, and never trusted further than their digest."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from weft.compiler.cache import store as cache_store
from weft.compiler.cache.store import Store, Unusable, Usage, decode, encode, file_name

KEY = '{"program": "one"}'
PARTS = {"interface": b"program p() {\n}\n", "code": bytes(range(256)), "empty": b""}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", 1 << 20)


def path(store: Store, key: str = KEY) -> Path:
    return store.folder / file_name(key)


def test_what_is_put_can_be_got(store: Store) -> None:
    assert store.get(KEY) is None
    assert store.put(KEY, PARTS) == path(store).stat().st_size
    assert store.get(KEY) == PARTS
    assert store.usage() == Usage(1, path(store).stat().st_size)


def test_nothing_is_made_by_looking(store: Store) -> None:
    assert store.get(KEY) is None and store.usage() == Usage(0, 0) and store.clear() == Usage(0, 0)
    store.trim()
    assert not store.directory.exists()


def test_failure_19_equal_hashes_are_not_equal_keys(store: Store) -> None:
    """Failure 19: a file with the right name but another key is no hit."""
    store.put(KEY, PARTS)
    path(store).write_bytes(encode(KEY + " ", PARTS))
    assert store.get(KEY) is None


def test_damaged_anywhere(store: Store) -> None:
    """Failure 17: what a crash or a bad disk left is ignored, and replaced."""
    store.put(KEY, PARTS)
    whole = path(store).read_bytes()
    for size in range(len(whole)):
        assert decode(whole[:size], KEY) is None
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        assert decode(bytes(flipped), KEY) is None
    path(store).write_bytes(whole[:-1])
    assert store.get(KEY) is None
    store.put(KEY, PARTS)
    assert store.get(KEY) == PARTS


@pytest.mark.parametrize(
    "head", [b"[]", b"{}", b'{"key": 1, "parts": []}', b'{"parts": []}', b"\xff", b"", b'{"key": "K", "parts": [[1]]}']
)
def test_heads_that_say_something_else(head: bytes) -> None:
    body = head + b"\nrest"
    digest = cache_store.hashlib.sha256(body).hexdigest().encode()
    assert decode(b"weft-kernel %d %s\n" % (cache_store.SCHEMA, digest) + body, "K") is None


def test_another_schema_is_absent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, PARTS)
    monkeypatch.setattr(cache_store, "SCHEMA", cache_store.SCHEMA + 1)
    assert store.get(KEY) is None


def test_failure_22_everything_is_private(store: Store) -> None:
    """Failure 22: directories 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        store.put(KEY, PARTS)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (store.directory, store.folder, path(store))]
    assert modes == [0o700, 0o700, 0o600]


def test_failure_22_a_readable_folder_is_closed(store: Store) -> None:
    store.put(KEY, PARTS)
    store.folder.chmod(0o755)
    assert store.get(KEY) == PARTS
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_failure_22_links_are_refused(store: Store, tmp_path: Path) -> None:
    """Failure 22: neither the directory, nor its folder, nor an entry may be a link."""
    store.put(KEY, PARTS)
    outer = Store(tmp_path / "link", 1 << 20)
    outer.directory.symlink_to(store.directory)
    for use in (lambda: outer.get(KEY), lambda: outer.put(KEY, PARTS), outer.trim, outer.clear, outer.usage):
        with pytest.raises(Unusable, match="is a symbolic link"):
            use()
    inner = Store(tmp_path / "other", 1 << 20)
    inner.directory.mkdir(mode=0o700)
    inner.folder.symlink_to(store.folder)
    with pytest.raises(Unusable, match="kernels is a symbolic link"):
        inner.put(KEY, PARTS)
    elsewhere = path(store).rename(tmp_path / "elsewhere")
    path(store).symlink_to(elsewhere)
    assert store.get(KEY) is None
    store.put(KEY, PARTS)
    assert store.get(KEY) == PARTS and not path(store).is_symlink() and elsewhere.exists()


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_failure_22_directories_open_to_others_are_refused(store: Store, mode: int) -> None:
    store.put(KEY, PARTS)
    for folder in (store.folder, store.directory):
        folder.chmod(mode)
        with pytest.raises(Unusable, match="can be written to by others"):
            store.get(KEY)
        folder.chmod(0o700)
    path(store).chmod(0o622)
    assert store.get(KEY) is None


def test_failure_22_another_owner_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, PARTS)
    me = os.getuid()
    monkeypatch.setattr(cache_store.os, "getuid", lambda: me + 1)
    with pytest.raises(Unusable, match="belongs to another user"):
        store.get(KEY)


def test_other_kinds_of_files_are_absent(store: Store) -> None:
    store.put(KEY, PARTS)
    path(store).unlink()
    os.mkfifo(path(store), 0o600)  # reading one would wait for a writer
    assert store.get(KEY) is None
    path(store).unlink()
    path(store).mkdir()
    assert store.get(KEY) is None


def test_a_file_in_the_place_of_the_directory(store: Store) -> None:
    store.directory.write_text("mine")
    for use in (lambda: store.get(KEY), lambda: store.put(KEY, PARTS)):
        with pytest.raises(Unusable, match=r"Not a directory|File exists"):
            use()


def aged(store: Store, key: str, seconds: float) -> None:
    """Make an entry look as if it was used that long ago."""
    now = path(store).parent.stat().st_mtime
    os.utime(path(store, key), (now - seconds, now - seconds))


def test_failure_29_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    """Failure 29: a cap, kept by deleting what nobody asked for."""
    store = Store(tmp_path / "cache", 10_000)
    for k in range(9):
        store.put(f"key {k}", {"code": bytes(1800)})
        aged(store, f"key {k}", 1000 - k)
    assert store.get("key 0") is not None  # used just now
    store.trim()
    assert [k for k in range(9) if store.get(f"key {k}")] == [0, 6, 7, 8]
    assert store.usage().bytes <= 10_000
    assert store.put("large", {"code": bytes(10_001)}) == 0 and store.get("large") is None


def test_only_our_own_files_are_deleted(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", 200)
    store.put(KEY, {})
    (store.folder / "notes.txt").write_text("mine" * 1000)
    abandoned, written = store.folder / f".new-{'a' * 24}", store.folder / f".new-{'b' * 24}"
    for file in (abandoned, written):
        file.write_bytes(b"x" * 1000)
    os.utime(abandoned, (0, 0))
    store.trim()
    assert not abandoned.exists() and written.exists() and (store.folder / "notes.txt").exists()
    store.clear()
    assert os.listdir(store.folder) == ["notes.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO])
def test_a_write_that_fails_leaves_nothing(store: Store, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache_store.os, "fsync", full)
    with pytest.raises(OSError):
        store.put(KEY, PARTS)
    assert os.listdir(store.folder) == []
