"""What a measured time depends on beside the program: the environment, written into every record."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..backends.host import processor
from ..backends.target import Reusable, Target
from ..compiler.cache.key import source_digest
from ..compiler.plain_data import to_plain
from ..compiler.reproducer import version
from ..ir.errors import TargetError


@dataclass(frozen=True)
class Fingerprint:
    """Times are compared only within one fingerprint. `machine_digest` is of the description with the cores and caches
    found; `sources` of weft's sources; `tools` of all that the target says of its tools and the processor."""

    processor: str
    machine: str
    machine_digest: str
    target: str
    threads: int
    weft: str
    sources: str
    llvmlite: str
    tools: str

    def same_machine(self, other: Fingerprint) -> bool:
        """Whether a plan that is best there is worth taking here: everything but the versions of software."""
        return (self.processor, self.machine_digest, self.target, self.threads) == (
            other.processor,
            other.machine_digest,
            other.target,
            other.threads,
        )


def fingerprint(target: Target, threads: int) -> Fingerprint:
    identity = _identity(target)
    return Fingerprint(
        processor=processor(),
        machine=target.machine.name,
        machine_digest=digest(to_plain(target.machine)),
        target=target.name,
        threads=threads,
        weft=version(),
        # A process that runs neither the old nor the new state of the sources is like no other.
        sources=source_digest() or f"changed while process {os.getpid()} ran",
        llvmlite=identity.get("llvmlite", ""),
        tools=digest(dict(identity)),
    )


def digest(data: object) -> str:
    """Of JSON data; equal for equal data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _identity(target: Target) -> Mapping[str, str]:
    if not isinstance(target, Reusable):
        return {}
    try:
        return target.identity() or {}
    except TargetError:  # tools are missing: measuring will say so
        return {}
