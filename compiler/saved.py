"""Saving a kernel to a directory, all at once, and making it again from there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..backends.machine import is_path
from ..backends.target import get_target
from ..ir import gir
from ..ir.errors import LoadError, TargetError, UserError, WeftError
from ..ir.gir_parser import parse_program
from ..ir.gir_printer import print_program
from ..ir.gir_verify import verify as verify_program
from ..ir.op import Op
from ..ir.op_printer import print_op
from . import extents, front, manifest
from .kernel import Kernel, Options
from .manifest import Manifest
from .reproducer import version

ATTEMPTS = 100  # at replacing a directory that others are replacing too
PARTS = ("source", "header", "library", "manifest")


def save(kernel: Kernel, directory: Path, emit: Sequence[str] | None, symbols: Mapping[str, int]) -> Path:
    """See `Kernel.save`."""
    wanted = PARTS if emit is None else tuple(dict.fromkeys(emit))
    for part in wanted:
        if part not in PARTS:
            raise UserError(f"cannot emit '{part}'", remedy=", ".join(PARTS))
    directory = Path(os.path.abspath(directory))
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise UserError(f"cannot write beside {directory}: {error.strerror or error}") from None
    try:
        _write(kernel, temporary, wanted, emit is not None, symbols)
        temporary.chmod(0o755)
        _replace(temporary, directory)
    except OSError as error:
        raise UserError(f"cannot write {directory}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def load(directory: Path, make: Callable[[Op | gir.Program, Options], Kernel]) -> Kernel:
    """See `weft.load`. `make` is the driver's way from a program and options to a kernel."""
    where = str(directory / manifest.NAME)
    found = manifest.parse(_read(directory, manifest.NAME, manifest.MAX_BYTES).decode("utf-8", "replace"), where)
    texts: dict[str, str] = {}
    for name, digest in found.files.items():
        data = _read(directory, name, 1 << 30)
        if manifest.sha256(data) != digest:
            raise LoadError(f"{directory / name} was edited or damaged: its hash does not match")
        if name in (found.roles.get("op"), found.roles.get("gir")):
            texts[name] = data.decode("utf-8", "replace")
    try:
        return _remake(found, texts, directory, make)
    except LoadError:
        raise
    except WeftError as error:
        raise LoadError(
            f"{directory} cannot be used by weft {version()} (saved by {found.version}): {error}"
        ) from error


def _remake(
    found: Manifest, texts: Mapping[str, str], directory: Path, make: Callable[[Op | gir.Program, Options], Kernel]
) -> Kernel:
    scheduled = found.roles.get("gir")
    if scheduled is None:
        raise LoadError(f"{directory} holds no program")
    program = parse_program(texts[scheduled], str(directory / scheduled))
    written = found.roles.get("op")
    if written is None:
        return make(front.prove(program), found.options)
    verify_program(program)  # what it leaves unproved (gathers) is checked at each call, from the op
    kernel = make(front.parse(texts[written], str(directory / written), found.name), found.options)
    kernel.adopt_variant(found.bindings, program)
    return kernel


def _write(kernel: Kernel, folder: Path, wanted: Sequence[str], strict: bool, symbols: Mapping[str, int]) -> None:
    """`strict`: the library was asked for by name, so its absence is an error."""
    variant = kernel.variant(**symbols)
    files: dict[str, bytes] = {}
    roles: dict[str, str] = {}
    notes: list[str] = []
    if "source" in wanted or "header" in wanted:
        emitted = variant.emitted
        for name, content in emitted.files.items():
            role = "header" if name == emitted.header else "source"
            if role in wanted:
                files[name] = content.encode()
                if name in (emitted.main, emitted.header):
                    roles["header" if name == emitted.header else "main"] = name
    if "library" in wanted:
        name = f"lib{kernel.name}.so"
        try:
            variant.target.library(variant.program, str(folder / name))
            roles["library"] = name
            files[name] = (folder / name).read_bytes()
        except TargetError as error:
            if strict:
                raise
            notes.append(f"no library: {error.message}")
    if "manifest" in wanted:
        files[f"{kernel.name}.scheduled.gir"] = print_program(variant.program).encode()
        roles["gir"] = f"{kernel.name}.scheduled.gir"
        if isinstance(kernel.program, Op):
            files[f"{kernel.name}.gir"] = print_op(kernel.program).encode()
            roles["op"] = f"{kernel.name}.gir"
    for name, data in files.items():
        if roles.get("library") != name:
            (folder / name).write_bytes(data)
    if "manifest" in wanted:
        hashes = {name: manifest.sha256(data) for name, data in files.items()}
        text = _describe(kernel, variant.bindings, hashes, roles, notes).to_json()
        (folder / manifest.NAME).write_text(text, encoding="utf-8")


def _describe(
    kernel: Kernel, bindings: Mapping[str, int], files: Mapping[str, str], roles: Mapping[str, str], notes: list[str]
) -> Manifest:
    signature = kernel.signature
    tensors = [
        {"name": t.name, "role": role, "dtype": t.dtype.value, "shape": [extents.text(e) for e in t.shape]}
        for role, group in (("input", signature.inputs), ("output", signature.outputs))
        for t in group
    ]
    symbols = tuple({"name": s.name, "default": s.default} for s in signature.symbols)
    options = kernel.options
    if options.machine is not None and is_path(options.machine):  # the file may be elsewhere when the kernel is loaded
        options = replace(options, machine=get_target(options.target, options.machine).machine.isa)
    return Manifest(kernel.name, version(), options, bindings, symbols, tuple(tensors), files, roles, tuple(notes))


def _check_replaceable(directory: Path, new: set[str]) -> None:
    """Only a directory that holds nothing but what is written now, or what an earlier save wrote, may be replaced.
    Raises FileNotFoundError where somebody else moved it away meanwhile, UserError."""
    if not stat.S_ISDIR(directory.lstat().st_mode):
        raise UserError(f"{directory} exists and is not a directory")
    ours = new | {manifest.NAME}
    with contextlib.suppress(LoadError):
        text = _read(directory, manifest.NAME, manifest.MAX_BYTES).decode("utf-8", "replace")
        ours |= manifest.parse(text, "").files.keys()
    for name in sorted(os.listdir(directory)):
        if name not in ours:
            raise UserError(f"{directory} holds something else: {name}", remedy="a new or empty directory")


def _replace(new: Path, directory: Path) -> None:
    """Put `new` in the place of `directory`; another process may be doing the same, then one of the two stays."""
    old = Path(tempfile.mkdtemp(prefix=f".{directory.name}.old.", dir=directory.parent))
    try:
        for attempt in range(ATTEMPTS):
            try:
                os.replace(new, directory)  # where nothing is, or an empty directory
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) or attempt == ATTEMPTS - 1:
                    raise
            with contextlib.suppress(FileNotFoundError):  # somebody else moved it first
                _check_replaceable(directory, set(os.listdir(new)))
                os.replace(directory, old / str(attempt))
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _read(directory: Path, name: str, limit: int) -> bytes:
    path = directory / name
    try:
        if path.is_symlink() or not path.is_file():
            raise LoadError(f"{path} is missing or not a plain file", remedy="a directory that Kernel.save wrote")
        if path.stat().st_size > limit:
            raise LoadError(f"{path} is larger than {limit} bytes")
        return path.read_bytes()
    except OSError as error:
        raise LoadError(f"cannot read {path}: {error.strerror or error}") from None
