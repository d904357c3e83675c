"""Record files: one per program in the directory of records, named after the digest of the program's text.

A file only grows, by whole lines: one write to a descriptor opened for appending, under a lock that other processes
respect. Whoever is killed in the middle leaves at most one torn line at the end, which readers skip and the next writer
closes with a line break.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..ir.errors import UserError
from .record import Record, from_line, to_line

NAMED = 32  # digits of the digest in a file's name
MAX_BYTES = 256 << 20  # of a file that is read
PATIENCE = 30.0  # seconds to wait for another writer
_NAME = re.compile(rf"[0-9a-f]{{{NAMED}}}\.jsonl")


@dataclass(frozen=True)
class Records:
    """The records in one directory."""

    directory: Path

    def path(self, key: str) -> Path:
        return self.directory / f"{key[:NAMED]}.jsonl"

    def read(self, key: str) -> list[Record]:
        """The records of a program, oldest first; none where there is no file. Raises UserError where it cannot be
        read."""
        return [r for r in read_file(self.path(key)) if r.key == key]

    def append(self, record: Record) -> None:
        """Raises UserError where nothing can be written."""
        from filelock import FileLock, Timeout  # readers, who may only want a kernel, do without

        path = self.path(record.key)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(f"{path}.lock", timeout=PATIENCE, mode=0o600):
                _append(path, to_line(record))
        except Timeout:
            raise UserError(f"another process keeps {path} locked", remedy=f"delete {path}.lock") from None
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror or error}", remedy="--records DIR, or WEFT_RECORDS"
            ) from None

    def files(self) -> Iterator[Path]:
        """The record files, by name."""
        try:
            found = sorted(p for p in self.directory.iterdir() if _NAME.fullmatch(p.name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"cannot read {self.directory}: {error.strerror or error}") from None
        yield from found

    def all(self) -> Iterator[Record]:
        """Every record, program by program."""
        for path in self.files():
            yield from read_file(path)


def read_file(path: Path) -> list[Record]:
    """The records of a file in order, without lines that are none. Raises UserError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES} bytes", remedy="move it away")
    found = map(from_line, data.splitlines())
    return [r for r in found if r is not None]


def _append(path: Path, line: bytes) -> None:
    """The lock is held."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            if os.read(descriptor, 1) != b"\n":
                line = b"\n" + line  # somebody was killed in the middle
        if os.write(descriptor, line) != len(line):
            raise OSError(28, "no space left for a whole line")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
