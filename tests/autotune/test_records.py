"""Record files: whole lines, torn lines, several writers; which record is the best."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from weft.autotune import store as store_module
from weft.autotune.fingerprint import Fingerprint, fingerprint
from weft.autotune.lookup import best
from weft.autotune.record import Record, Status, as_data, from_line, to_line
from weft.autotune.store import Records
from weft.backends.target import get_target
from weft.ir.errors import UserError

HERE = Fingerprint("a processor", "avx2", "d1", "cpu", 2, "0.1.0", "s1", "0.44", "t1")
KEY = "ab" * 32
BIND = (("M", 4), ("N", 8))


def record(plan: str = "p", seconds: float = 1.0, **changed: Any) -> Record:
    made = Record(
        program="some",
        key=KEY,
        bind=BIND,
        alternative="streams",
        choices='{"cuts": ["e"], "vectors": 4}',
        plan=plan,
        status=Status.OK,
        environment=HERE,
        seconds=seconds,
        minimum=seconds,
        samples=3,
        baseline=1.0,
        errors=(("y", 1e-7),),
    )
    made = replace(made, **changed)
    return made if "relative" in changed else replace(made, relative=made.seconds / made.baseline)


def test_a_line_and_back() -> None:
    one = record(status=Status.CRASH, detail='killed by "SIGSEGV"\nat once')
    line = to_line(one)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert from_line(line) == one
    data = json.loads(line)
    assert data["schema"] == 1 and data["choices"] == {"cuts": ["e"], "vectors": 4} and data["bind"] == {"M": 4, "N": 8}


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.update(schema=2),
        lambda d: d.pop("schema"),
        lambda d: d.pop("plan"),
        lambda d: d.update(status="splendid"),
        lambda d: d.update(seconds="1.0"),
        lambda d: d.update(bind=[1]),
        lambda d: d.update(more=1),
        lambda d: d["environment"].pop("target"),
    ],
)
def test_lines_that_are_no_records(damage: Any) -> None:
    data: dict[str, Any] = json.loads(json.dumps(as_data(record())))
    damage(data)
    assert from_line(json.dumps(data).encode()) is None


@pytest.mark.parametrize("line", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, to_line(record())[:-9]])
def test_bytes_that_are_no_records(line: bytes) -> None:
    assert from_line(line) is None


def test_a_torn_last_line_is_skipped_and_closed(tmp_path: Path) -> None:
    place = Records(tmp_path)
    place.append(record("a"))
    torn = to_line(record("b"))[:40]
    with place.path(KEY).open("ab") as file:
        file.write(torn)
    assert [r.plan for r in place.read(KEY)] == ["a"]
    place.append(record("c"))
    assert [r.plan for r in place.read(KEY)] == ["a", "c"]
    assert place.path(KEY).read_bytes().split(b"\n")[1] == torn
    assert [r.plan for r in place.all()] == ["a", "c"]


def test_files_are_private_and_belong_to_one_program(tmp_path: Path) -> None:
    place = Records(tmp_path / "new" / "place")
    place.append(record("a"))
    place.append(record("b", key="cd" * 32))
    assert place.path(KEY).stat().st_mode & 0o777 == 0o600
    assert [r.plan for r in place.read(KEY)] == ["a"] and len(list(place.files())) == 2
    alike = KEY[:-1] + "c"  # the same name, another program
    place.append(record("c", key=alike))
    assert place.path(alike) == place.path(KEY)
    assert [r.plan for r in place.read(KEY)] == ["a"] and [r.plan for r in place.read(alike)] == ["c"]


def test_no_directory_holds_no_records(tmp_path: Path) -> None:
    place = Records(tmp_path / "none")
    assert place.read(KEY) == [] and list(place.all()) == [] and not (tmp_path / "none").exists()


WRITER = """
import sys
from pathlib import Path
from weft.autotune.record import from_line
from weft.autotune.store import Records
from dataclasses import replace
one = from_line(sys.stdin.buffer.readline())
for n in range(40):
    Records(Path(sys.argv[1])).append(replace(one, plan=f"{sys.argv[2]} {n}", detail="x" * 3000))
"""


def test_two_processes_append(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], stdin=subprocess.PIPE) for name in "ab"
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(to_line(record()))
        writer.stdin.close()
    assert [w.wait(30) for w in writers] == [0, 0]
    lines = Records(tmp_path).path(KEY).read_bytes().splitlines()
    assert len(lines) == 80 and None not in [from_line(line) for line in lines]
    for name in "ab":
        mine = [r.plan for r in Records(tmp_path).read(KEY) if r.plan.startswith(name)]
        assert mine == [f"{name} {n}" for n in range(40)]


def test_a_lock_that_is_never_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 0.1)
    with FileLock(f"{Records(tmp_path).path(KEY)}.lock"), pytest.raises(UserError, match="locked"):
        Records(tmp_path).append(record())


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        Records(tmp_path / "file").append(record())


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("dear")
    os.symlink(tmp_path / "mine", Records(tmp_path).path(KEY))
    with pytest.raises(UserError, match="cannot write"):
        Records(tmp_path).append(record())
    assert (tmp_path / "mine").read_text() == "dear"


# -- the best


def test_the_fastest_by_the_default_plan_of_the_same_rounds() -> None:
    quiet = record("a", 0.9, baseline=1.0)
    disturbed = record("b", 1.5, baseline=2.0)  # slower, but everything was at that moment
    assert best([record("d", default=True), quiet, disturbed], BIND, HERE) == disturbed


def test_what_is_hardly_faster_leaves_the_default_plan() -> None:
    default = record("d", default=True)
    assert best([default, record("a", 0.985)], BIND, HERE) == default
    assert best([record("a", 0.985)], BIND, HERE) == record("a", 0.985)


def test_the_last_comparison_of_the_best_decides() -> None:
    """Who was fastest among many was partly lucky: the next one may not win by its own luck."""
    default = record("d", default=True, final=1)
    lucky, next_one = record("a", 0.95, final=1), record("b", 0.85)
    assert best([default, lucky, next_one], BIND, HERE) == lucky
    assert best([default, record("a", 0.99, final=1), next_one], BIND, HERE) == default
    again = record("b", 0.9, final=2)
    assert best([default, lucky, again, replace(default, final=2)], BIND, HERE) == again


def test_only_verified_records_and_the_last_of_each_plan() -> None:
    faults = [record(str(s), 0.1, status=s) for s in Status if s is not Status.OK]
    assert best(faults, BIND, HERE) is None
    again = [record("a", 0.5), record("b", 0.7), record("a", 0.8)]
    assert best(again, BIND, HERE) == again[1]
    assert best([record("a", 0.5), record("b", 0.7), record("a", status=Status.WRONG)], BIND, HERE) == again[1]


@pytest.mark.parametrize("field,value", [("processor", "z"), ("machine_digest", "z"), ("target", "c"), ("threads", 1)])
def test_another_machine_does_not_count(field: str, value: Any) -> None:
    elsewhere = replace(HERE, **{field: value})
    assert best([record("a", 0.1, environment=elsewhere)], BIND, HERE) is None
    both = [record("a", 0.1, environment=elsewhere), record("b", 0.9)]
    assert best(both, BIND, HERE) == both[1]


def test_other_extents_do_not_count() -> None:
    assert best([record("a", 0.1, bind=(("M", 4), ("N", 9)))], BIND, HERE) is None


def test_versions_are_not_mixed() -> None:
    """This very environment first; without one, the last other."""
    old, older = replace(HERE, sources="s0"), replace(HERE, weft="0.0.9", sources="s00")
    mine, last, first = record("a", 0.9), record("b", 0.3, environment=old), record("c", 0.1, environment=older)
    assert best([first, mine, last], BIND, HERE) == mine
    assert best([first, last], BIND, HERE) == last


def test_the_fingerprint_of_this_machine() -> None:
    here = fingerprint(get_target("cpu"), 2)
    assert here == fingerprint(get_target("cpu"), 2) and here.same_machine(here)
    assert here.processor and here.llvmlite and here.sources
    others = [fingerprint(get_target("cpu"), 1), fingerprint(get_target("cpu:simd128"), 2)]
    assert not any(here.same_machine(other) for other in others)
