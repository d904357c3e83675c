"""Entries of the kernel cache as files: private, whole or absent, bounded in number of bytes.

An entry is one file, named after the SHA-256 of its key:

    weft-kernel <schema> <SHA-256 of all that follows this line>\\n
    {"key": "...", "parts": [["name", bytes], ...]}\\n
    the parts, one after the other

It is written beside its place and renamed into it, so that readers need no lock and see all of it or nothing, whoever
is killed when. What does not check out (digest, lengths, key, owner, mode) is as good as absent. Two writers of one
key write the same; the last one stays. All access goes through a descriptor of the directory that was checked, so that
nobody can put another in its place in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SCHEMA = 1
MAGIC = b"weft-kernel"
FOLDER = "kernels"
MAX_ENTRY = 256 << 20  # bytes of a file that is read
ABANDONED = 900.0  # seconds after which a file that is being written has no writer any more
KEPT_SHARE = 0.8  # of the limit, after an eviction: so that not every new entry evicts

_ENTRY = re.compile(r"[0-9a-f]{64}\.kernel")
_UNFINISHED = re.compile(r"\.new-[0-9a-f]{24}")


class Unusable(Exception):
    """Why the directory cannot hold a cache; the text is for the user."""


@dataclass(frozen=True)
class Usage:
    entries: int
    bytes: int


@dataclass(frozen=True)
class Store:
    """The entries in `directory`/kernels, `limit` bytes of them at most (a little more for a moment while several
    processes write at once)."""

    directory: Path
    limit: int

    @property
    def folder(self) -> Path:
        return self.directory / FOLDER

    def get(self, key: str) -> dict[str, bytes] | None:
        """The parts of the entry whose key is `key`, which now counts as used last. Raises Unusable."""
        with self._opened(create=False) as folder:
            if folder is None:
                return None
            name = file_name(key)
            data = _read(folder, name)
            parts = None if data is None else decode(data, key)
            if parts is not None:
                with contextlib.suppress(OSError):  # a cache that cannot be written to keeps its order
                    os.utime(name, dir_fd=folder)
            return parts

    def put(self, key: str, parts: Mapping[str, bytes]) -> int:
        """Write an entry, and return its bytes (0: it is too large to be kept). Raises Unusable and OSError."""
        data = encode(key, parts)
        if len(data) > min(self.limit, MAX_ENTRY):
            return 0
        with self._opened(create=True) as folder:
            assert folder is not None
            _write(folder, file_name(key), data)
        return len(data)

    def trim(self) -> None:
        """Delete what was used longest ago where there is more than `limit`. Raises Unusable and OSError.

        Two processes that do so at once try to delete the same files; one of them finds them gone.
        """
        with self._opened(create=False) as folder:
            if folder is None:
                return
            found = sorted(_entries(folder))
            total = sum(size for _, _, size in found)
            if total <= self.limit:
                return
            for _, name, size in found:
                if total <= self.limit * KEPT_SHARE:
                    break
                _unlink(folder, name)
                total -= size

    def clear(self) -> Usage:
        """Delete every entry, and say what there was. Raises Unusable and OSError."""
        with self._opened(create=False) as folder:
            if folder is None:
                return Usage(0, 0)
            found = list(_entries(folder, abandoned=0.0))
            for _, name, _ in found:
                _unlink(folder, name)
            return Usage(len(found), sum(size for _, _, size in found))

    def usage(self) -> Usage:
        """Raises Unusable and OSError."""
        with self._opened(create=False) as folder:
            found = [] if folder is None else list(_entries(folder))
            return Usage(len(found), sum(size for _, _, size in found))

    @contextlib.contextmanager
    def _opened(self, create: bool) -> Iterator[int | None]:
        """A descriptor of the folder; None where it does not exist and is not to be made."""
        descriptor = _open_private(self.directory, create)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)


def file_name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest() + ".kernel"


def encode(key: str, parts: Mapping[str, bytes]) -> bytes:
    head = {"key": key, "parts": [[name, len(data)] for name, data in parts.items()]}
    body = b"".join([json.dumps(head).encode(), b"\n", *parts.values()])
    return b"%s %d %s\n%s" % (MAGIC, SCHEMA, hashlib.sha256(body).hexdigest().encode(), body)


def decode(data: bytes, key: str) -> dict[str, bytes] | None:
    """The parts; None where the file is damaged, of another schema, or of another key with the same hash."""
    mark = data.find(b"\n")
    body = memoryview(data)[mark + 1 :]
    if data[: max(mark, 0)] != b"%s %d %s" % (MAGIC, SCHEMA, hashlib.sha256(body).hexdigest().encode()):
        return None
    end = data.find(b"\n", mark + 1)
    try:
        head = json.loads(data[mark + 1 : end])
        if head["key"] != key:
            return None
        parts: dict[str, bytes] = {}
        at = end + 1
        for name, size in head["parts"]:
            parts[str(name)] = data[at : at + int(size)]
            at += int(size)
    except (ValueError, KeyError, TypeError):
        return None
    return parts if at == len(data) else None


def _open_private(directory: Path, create: bool) -> int | None:
    """A descriptor of `directory`/kernels. `directory` must be the user's own, no link, and closed to writing by
    others; the folder in it is mode 0700. Raises Unusable."""
    if not hasattr(os, "getuid"):
        raise Unusable("this system has no owners of directories")
    try:
        if create:
            Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        outer = _open_folder(str(directory), None)
        if outer is None:
            return None
        try:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(FOLDER, 0o700, dir_fd=outer)
            inner = _open_folder(FOLDER, outer)
        finally:
            os.close(outer)
    except OSError as error:
        raise Unusable(f"{directory}: {error.strerror or error}") from None
    if inner is not None and os.fstat(inner).st_mode & 0o077:
        with contextlib.suppress(OSError):
            os.fchmod(inner, 0o700)
    return inner


def _open_folder(name: str, parent: int | None) -> int | None:
    """None where there is nothing. Raises Unusable where there is something that could be another user's."""
    try:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            raise Unusable(f"{name} is a symbolic link")
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return None
    info = os.fstat(descriptor)
    problem = ""
    if info.st_uid != os.getuid():
        problem = "belongs to another user"
    elif info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problem = f"can be written to by others (mode {stat.S_IMODE(info.st_mode):04o})"
    if problem:
        os.close(descriptor)
        raise Unusable(f"{name} {problem}")
    return descriptor


def _read(folder: int, name: str) -> bytes | None:
    """The bytes of a plain file of this user that nobody else may write; None for anything else."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            info = os.fstat(file.fileno())
            private = stat.S_ISREG(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o022
            return file.read() if private and info.st_size <= MAX_ENTRY else None
    except OSError:
        return None


def _write(folder: int, name: str, data: bytes) -> None:
    """Raises OSError (a full disk, a limit on the size of files) and leaves nothing then."""
    beside = f".new-{secrets.token_hex(12)}"
    descriptor = os.open(
        beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _unlink(folder, beside)
        raise


def _entries(folder: int, abandoned: float = ABANDONED) -> Iterator[tuple[int, str, int]]:
    """(time of last use, name, bytes) of the entries; what writers left unfinished long ago is deleted on the way."""
    with os.scandir(folder) as listing:
        names = sorted(item.name for item in listing)
    for name in names:
        unfinished = _UNFINISHED.fullmatch(name)
        if not unfinished and not _ENTRY.fullmatch(name):
            continue  # not ours: never deleted
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue
        if not unfinished:
            yield info.st_mtime_ns, name, info.st_size
        elif time.time() - info.st_mtime >= abandoned:
            _unlink(folder, name)


def _unlink(folder: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
