"""The one registry of settings. Every environment variable that weft reads is a line of this file.

`current()` looks at the environment each time it is called, so that a test or a program may change it; a value that
does not parse is a `UserError` that names the variable. This module imports nothing of weft but the errors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .ir.errors import UserError

OFF = "off"  # as WEFT_CACHE_DIR, WEFT_RECORDS or WEFT_MACHINE_DIR

MACHINE_FILE = "machine.toml"


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    known = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}
    if value.lower() not in known:
        raise ValueError("a flag: 0 or 1")
    return known[value.lower()]


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ValueError("a positive integer")
    return int(value)


def _bytes(value: str) -> int:
    units = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    digits = value.lower().rstrip("kmg")
    suffix = value.lower()[len(digits) :]
    if not digits.isascii() or not digits.isdigit() or suffix not in units:
        raise ValueError("a number of bytes such as 65536, 64k, 512m or 1g")
    return int(digits) * units[suffix]


def _setting(env: str, parse: Callable[[str], Any], default: Any, doc: str) -> Any:
    return field(default=default, metadata={"env": env, "parse": parse, "doc": doc})


@dataclass(frozen=True)
class Settings:
    """Values as of one moment. `None` means: decided from the machine."""

    target: str = _setting("WEFT_TARGET", _text, "cpu", "target of compile() where none is given")
    machine: str | None = _setting("WEFT_MACHINE", _text, None, "machine description used for scheduling: name or file")
    machine_dir: str | None = _setting(
        "WEFT_MACHINE_DIR", _text, None, "where the measured description of this machine is kept; off: none is used"
    )
    threads: int | None = _setting("WEFT_THREADS", _count, None, "threads of a call where compile() names none")
    variants: int = _setting("WEFT_VARIANTS", _count, 32, "specialised variants that one kernel keeps")
    cache: bool = _setting("WEFT_CACHE", _flag, True, "keep compiled kernels for other processes and kernels")
    cache_dir: str | None = _setting(
        "WEFT_CACHE_DIR", _text, None, "where compiled kernels and reproducers are kept; off: no kernels"
    )
    cache_bytes: int = _setting("WEFT_CACHE_BYTES", _bytes, 1 << 30, "bytes of compiled kernels kept on disk")
    records: str | None = _setting("WEFT_RECORDS", _text, None, "where tuning records are kept; off: none are used")
    huge_pages: bool = _setting("WEFT_HUGE_PAGES", _flag, True, "ask for huge pages for large buffers")
    pool_bytes: int = _setting("WEFT_POOL_BYTES", _bytes, 1 << 29, "bytes of freed large buffers kept for reuse")
    poison: bool = _setting("WEFT_POISON", _flag, False, "fill new buffers with 0xFF (NaN) before a kernel runs")
    verify: bool = _setting("WEFT_VERIFY", _flag, False, "verify what lowering gives")
    cc: str = _setting("WEFT_CC", _text, "cc", "C compiler of the target 'c'")


def current(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of `environment` (the process's own by default). Raises UserError for a value that does not
    parse."""
    if environment is not None:
        return _parsed(environment)
    global _LAST
    # Decoding names and values takes longer than a small kernel: the process's variables are compared as they are kept.
    kept = getattr(os.environ, "_data", None)
    if kept is None:
        return _parsed(os.environ)
    found = tuple(map(kept.get, _KEYS))
    known, settings = _LAST
    if found != known:
        settings = _parsed(os.environ)
        _LAST = found, settings
    return settings


def _parsed(environment: Mapping[str, str]) -> Settings:
    values: dict[str, Any] = {}
    for item in fields(Settings):
        name = item.metadata["env"]
        raw = environment.get(name, "")
        if not raw:
            continue
        try:
            values[item.name] = item.metadata["parse"](raw)
        except ValueError as error:
            raise UserError(f"environment variable {name}={raw!r} is not {error}", remedy=f"unset {name}") from None
    return Settings(**values)


_KEYS = tuple(getattr(os.environ, "encodekey", str)(f.metadata["env"]) for f in fields(Settings))
_LAST: tuple[tuple[Any, ...], Settings] = ((None,) * len(_KEYS), Settings())  # as found, and what it means


def cache_directory(settings: Settings | None = None) -> Path:
    """The user's cache directory of weft (not created)."""
    chosen = (settings or current()).cache_dir
    if chosen and chosen.lower() != OFF:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("weft")


def kernel_cache_directory(settings: Settings | None = None) -> Path | None:
    """The same, where compiled kernels are kept at all."""
    now = settings or current()
    off = not now.cache or now.cache_bytes == 0 or (now.cache_dir or "").lower() == OFF
    return None if off else cache_directory(now)


def records_directory(settings: Settings | None = None) -> Path | None:
    """Where tuning records are kept (not created); None where they are turned off."""
    chosen = (settings or current()).records
    if chosen:
        return None if chosen.lower() == OFF else Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("weft") / "records"


def machine_file(settings: Settings | None = None) -> Path | None:
    """The measured description of this machine (it may not exist); None where it is turned off."""
    chosen = (settings or current()).machine_dir
    if chosen:
        return None if chosen.lower() == OFF else Path(chosen) / MACHINE_FILE
    from platformdirs import user_config_path

    return user_config_path("weft") / MACHINE_FILE


def describe() -> list[tuple[str, str, str]]:
    """Rows (environment variable, default, meaning), in order: the table of the documentation and of `weft doctor`."""
    return [
        (f.metadata["env"], "" if f.default is None else str(f.default), f.metadata["doc"]) for f in fields(Settings)
    ]
