"""The manifest of a saved kernel: JSON with a schema version, the hash of every file beside it, and of itself.

A manifest is data from outside: every field is checked for its type before use, and names of files are plain names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.errors import LoadError, UserError
from .kernel import Options, Specialise
from .lower_options import LowerOptions
from .plain_data import from_plain, to_plain

SCHEMA = 1
KIND = "weft-kernel"
NAME = "manifest.json"
MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Manifest:
    """`files` maps names to SHA-256; `roles` says which of them is the op, gir, main, header and library."""

    name: str
    version: str
    options: Options
    bindings: Mapping[str, int]
    symbols: tuple[Mapping[str, Any], ...]
    tensors: tuple[Mapping[str, Any], ...]
    files: Mapping[str, str]
    roles: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        body: dict[str, Any] = {
            "kind": KIND,
            "schema": SCHEMA,
            "weft": self.version,
            "name": self.name,
            "options": {
                "target": self.options.target,
                "bind": dict(self.options.bind),
                "threads": self.options.threads,
                "specialise": self.options.specialise.value,
                "machine": self.options.machine,
                "schedule": None if self.options.schedule is None else to_plain(self.options.schedule),
            },
            "bindings": dict(self.bindings),
            "symbols": list(self.symbols),
            "tensors": list(self.tensors),
            "files": dict(self.files),
            "roles": dict(self.roles),
            "notes": list(self.notes),
        }
        body["digest"] = _digest(body)
        return json.dumps(body, indent=2) + "\n"


def parse(text: str, where: str) -> Manifest:
    """Raises LoadError saying what is wrong with the manifest at `where`."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{where} is not JSON (truncated?): {error}", remedy="save the kernel again") from None
    if not isinstance(body, dict) or body.get("kind") != KIND:
        raise LoadError(f"{where} is not the manifest of a saved kernel")
    if body.get("schema") != SCHEMA:
        raise LoadError(
            f"{where} has schema {body.get('schema')!r}, this version of weft reads {SCHEMA}",
            remedy="save the kernel again with this version",
        )
    if body.pop("digest", None) != _digest(body):
        raise LoadError(f"{where} was edited or damaged: its digest does not match", remedy="save the kernel again")
    read = _Reader(where)
    options = read.mapping(body, "options")
    specialise = read.text(options, "specialise")
    if specialise not in [s.value for s in Specialise]:
        raise LoadError(f"{where}: 'specialise' is {specialise!r}")
    files = {read.file_name(n): read.text(read.mapping(body, "files"), n) for n in read.mapping(body, "files")}
    roles = {r: read.text(read.mapping(body, "roles"), r) for r in read.mapping(body, "roles")}
    for role, name in roles.items():
        if name not in files:
            raise LoadError(f"{where}: the file '{name}' ({role}) has no hash")
    return Manifest(
        name=read.text(body, "name"),
        version=read.text(body, "weft"),
        options=Options(
            target=read.text(options, "target"),
            bind=read.integers(options, "bind"),
            threads=read.optional_integer(options, "threads"),
            specialise=Specialise(specialise),
            machine=read.optional_text(options, "machine"),
            schedule=read.schedule(options),
        ),
        bindings=dict(read.integers(body, "bindings")),
        symbols=(),
        tensors=(),
        files=files,
        roles=roles,
    )


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(body: Mapping[str, Any]) -> str:
    return sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


@dataclass(frozen=True)
class _Reader:
    """Fields by type, LoadError where a field has another one."""

    where: str

    def mapping(self, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = body.get(key)
        return value if isinstance(value, dict) else self._refuse(key, "an object")

    def text(self, body: Mapping[str, Any], key: str) -> str:
        value = body.get(key)
        return value if isinstance(value, str) else self._refuse(key, "a string")

    def optional_text(self, body: Mapping[str, Any], key: str) -> str | None:
        return None if body.get(key) is None else self.text(body, key)

    def optional_integer(self, body: Mapping[str, Any], key: str) -> int | None:
        value = body.get(key)
        return value if value is None or type(value) is int else self._refuse(key, "an integer")

    def integers(self, body: Mapping[str, Any], key: str) -> tuple[tuple[str, int], ...]:
        found = self.mapping(body, key)
        if any(type(v) is not int for v in found.values()):
            self._refuse(key, "an object of integers")
        return tuple(found.items())

    def schedule(self, options: Mapping[str, Any]) -> LowerOptions | None:
        if options.get("schedule") is None:
            return None
        try:
            return from_plain(LowerOptions, options["schedule"])
        except UserError as error:
            raise LoadError(f"{self.where}: {error.message}") from None

    def file_name(self, name: str) -> str:
        if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name or name == NAME:
            raise LoadError(f"{self.where}: {name!r} is not a plain file name")
        return name

    def _refuse(self, key: str, wanted: str) -> Any:
        raise LoadError(f"{self.where}: '{key}' is not {wanted}")
