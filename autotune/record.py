"""What is known of one candidate: a line of a record file, as JSON with a schema version."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import Enum

from ..compiler.lower_options import Chosen
from ..compiler.plain_data import from_plain, to_plain
from ..ir.errors import UserError
from ..ir.op import Op
from ..ir.op_printer import print_op
from .fingerprint import Fingerprint

SCHEMA = 1


class Status(Enum):
    OK = "ok"  # its results were right each time it was looked at; it has times
    WRONG = "wrong"  # results differ from the reference, or it wrote where it must not
    CRASH = "crash"  # the process died
    HANG = "hang"  # it was killed for taking too long
    ERROR = "error"  # it could not be compiled or loaded


@dataclass(frozen=True)
class Record:
    """`program` names the op, `key` is the digest of its text, `bind` its extents, sorted by name.

    `seconds` (median) and `minimum` are of one call; `baseline` is the median of the default plan in the same rounds.
    `relative`: time over the default plan's, the median over the rounds, each with the fastest calls of the two turns;
    it compares records measured at different times. `final`: 0, or in which comparison of the best it was measured.
    `errors` are the largest errors of the outputs and `checked` what they were compared with. `default`: the plan that
    compile() takes where there are no records.
    """

    program: str
    key: str
    bind: tuple[tuple[str, int], ...]
    alternative: str
    choices: str  # JSON with sorted keys here, an object in the file
    plan: str
    status: Status
    environment: Fingerprint
    detail: str = ""
    seconds: float = 0.0
    minimum: float = 0.0
    samples: int = 0
    baseline: float = 0.0
    relative: float = 1.0
    final: int = 0
    predicted: float = 0.0
    dram_bytes: float = 0.0
    bound: str = ""
    errors: tuple[tuple[str, float], ...] = ()
    checked: str = ""
    default: bool = False
    when: str = ""
    schema: int = SCHEMA

    @property
    def chosen(self) -> Chosen:
        return Chosen(self.alternative, self.choices, self.plan)


def program_key(op: Op) -> str:
    """The digest that names an op: of its text, with its symbols open."""
    return hashlib.sha256(print_op(op).encode()).hexdigest()


def as_data(record: Record) -> dict[str, object]:
    """JSON data."""
    data = to_plain(record)
    assert isinstance(data, dict)
    return {**data, "choices": json.loads(record.choices), "bind": dict(record.bind), "errors": dict(record.errors)}


def to_line(record: Record) -> bytes:
    """One line, with its line break."""
    return json.dumps(as_data(record), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Record | None:
    """None for what is no record of this schema: a torn line, another version's."""
    try:
        data = json.loads(line)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            return None
        data["choices"] = json.dumps(data["choices"], sort_keys=True)
        data["bind"] = [list(item) for item in sorted(data["bind"].items())]
        data["errors"] = [list(item) for item in sorted(data["errors"].items())]
        return from_plain(Record, data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UserError):
        return None
