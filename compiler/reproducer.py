"""What escapes as anything but a WeftError is our fault: it becomes an InternalError with a file that shows it."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import settings
from ..ir.errors import InternalError, UserError, WeftError

Describe = Callable[[], str]


@contextmanager
def guarded(what: str, describe: Describe) -> Iterator[None]:
    """Run the body; a bug in it raises InternalError naming a reproducer. `describe` gives the input as text."""
    try:
        yield
    except InternalError as error:
        if error.reproducer:
            raise
        path = write(what, describe, error)
        raise InternalError(_message(what, error, path), path) from error
    except (WeftError, MemoryError):
        raise
    except RecursionError as error:
        raise UserError(f"{what}: the program is nested too deeply", remedy="name intermediate results") from error
    except Exception as error:
        path = write(what, describe, error)
        raise InternalError(_message(what, error, path), path) from error


def write(what: str, describe: Describe, error: BaseException) -> str:
    """The path of a new reproducer file, or "" where none could be written (a full disk must not hide the bug)."""
    try:
        subject = describe()
    except Exception as second:
        subject = f"(the input has no text: {type(second).__name__}: {second})"
    report = (
        f"# weft {version()}, Python {platform.python_version()}, {platform.machine()} {sys.platform}\n"
        f"# {what}\n\n{subject}\n\n" + "".join(f"# {line}\n" for line in _trace(error))
    )
    try:
        folder = private_directory(settings.cache_directory() / "reproducers")
        path = folder / f"{hashlib.sha256(report.encode()).hexdigest()[:16]}.gir"
        descriptor, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(report)
        os.replace(temporary, path)
    except (OSError, UserError):
        return ""
    return str(path)


def private_directory(path: Path) -> Path:
    """`path`, made for this user alone. Raises UserError where it belongs to somebody else or is a link."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = path.lstat()
    if path.is_symlink() or info.st_uid != os.getuid():
        raise UserError(f"{path} is a link or belongs to another user", remedy="set WEFT_CACHE_DIR")
    if info.st_mode & 0o077:
        path.chmod(0o700)
    return path


def version() -> str:
    from .. import __version__

    return __version__


def _trace(error: BaseException) -> list[str]:
    return "".join(traceback.format_exception(error)).splitlines()


def _message(what: str, error: BaseException, path: str) -> str:
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    where = f"; a reproducer is at {path}" if path else ""
    return f"internal error while {what}: {cause}{where}"
