"""`weft machine`: what is shown, and a description that is measured, written and taken from then on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from weft.autotune.machine import measure as measuring
from weft.autotune.machine import probes
from weft.autotune.machine.describe import described, rounded, text_of
from weft.autotune.machine.loops import CHAINS, DOTS, _check_listing, dot_text, fma_text
from weft.autotune.machine.team import team
from weft.backends import host
from weft.backends.cpu.jit import Processor, assembly, initialize
from weft.backends.machine import load_machine, machine_names, parse_description, read_description
from weft.backends.target import get_target
from weft.compiler.cli import run
from weft.ir.errors import InternalError


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small arrays, short turns: the figures mean nothing."""
    monkeypatch.setattr(measuring, "room", lambda: 16 << 20)
    monkeypatch.setattr(measuring, "LEAST_ROUNDS", 1)
    monkeypatch.setattr(probes, "TURN", 2e-4)


def test_shown(capsys: Any) -> None:
    assert run(["machine"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"machine            {host.machine_name()}\n") and "comes along with weft" in out
    assert f"descriptions that come along: {', '.join(machine_names())}" in out
    assert run(["machine", "neon", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["machine"]["vector_bytes"] == 16 and data["processor"] is None and data["measured"] == {}


@pytest.mark.parametrize(
    "arguments,code,why",
    [
        (["abacus"], 1, "unknown machine 'abacus'"),
        (["no/such.toml"], 1, "No such file"),
        (["avx2", "--measure"], 2, "it takes no NAME"),
        (["--out", "x.toml"], 2, "goes with --measure"),
        (["--measure"], 1, "no place for the description"),
        (["--measure", "--seconds", "-1"], 2, "--seconds"),
    ],
)
def test_refused(arguments: list[str], code: int, why: str, capsys: Any) -> None:
    assert run(["machine", *arguments]) == code
    assert why in capsys.readouterr().err


def test_measured_written_and_used(quickly: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("WEFT_MACHINE_DIR", str(tmp_path / "deep" / "er"))
    path = tmp_path / "deep" / "er" / "machine.toml"
    assert run(["machine", "--measure", "--seconds", "0.1"]) == 0
    assert f"written     {path}\n" in capsys.readouterr().out
    assert [p.name for p in path.parent.iterdir()] == ["machine.toml"]  # nothing half-written beside it
    found = read_description(path)
    assert found.processor == host.processor() and found.cores == host.usable_cores()
    assert get_target("cpu").machine.l1_gbs == found.machine.l1_gbs
    for table in ("read_gbs", "write_gbs", "copy_gbs", "stream_gbs", "fill_gbs", "peak_gops", "latency_ns", "rate"):
        assert found.figures[table] and all(v > 0 for v in found.figures[table].values()), table
    for level in ("l1_1", "l2_1", "dram_1"):
        assert level in found.figures["read_gbs"]
    assert {"fma_f32", "l1", "l2", "dram"} <= set(found.figures["latency_ns"])
    assert run(["machine"]) == 0
    assert "measured on" in capsys.readouterr().out
    path.write_text("units = ")  # measuring does not need what it replaces
    assert run(["machine"]) == 1
    monkeypatch.setattr(host, "usable_cores", lambda: 1)
    assert run(["machine", "--measure", "--seconds", "0.1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert "dram_all" not in data["measured"]["read_gbs"] and data["measured"]["overhead_us"] == {}


def test_a_place_that_cannot_be_written(quickly: None, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    assert run(["machine", "--measure", "--out", str(tmp_path / "file" / "x.toml")]) == 1
    assert "cannot write" in capsys.readouterr().err


FIGURES = {
    "read_gbs": {"l1_1": 211.26, "l2_1": 117.0, "l3_1": 95.0, "dram_1": 31.0, "dram_all": 40.0},
    "copy_gbs": {"l1_1": 230.0, "l2_1": 60.0, "l3_1": 94.0, "dram_1": 26.0},
    "stream_gbs": {"dram_1": 41.0, "dram_all": 70.0},
    "peak_gops": {"f32_1": 117.4, "f64_1": 58.7},
    "rate": {"clock_ghz": 3.67, "mix_per_ns": 7.3},
    "latency_ns": {"fma_f32": 1.09, "l1": 1.1},
    "issue_per_cycle": {"exp": 0.8, "log": 1.25},
    "overhead_us": {"fork_join": 1.777},
}


def test_fields_from_figures() -> None:
    base = load_machine("avx512")
    m = described(base, "mine", FIGURES)
    assert (m.clock_ghz, m.fma_per_cycle, m.fma_latency, m.alu_per_cycle) == (3.67, 1.0, 4, 1.0)
    assert (m.l1_gbs, m.l2_gbs, m.l3_gbs) == (211.0, 90.0, 95.0)  # the copy in L2 is slow: 1.5 times its bytes
    assert (m.dram_gbs, m.dram_gbs_all, m.dram_read_gbs, m.fork_join_us) == (41.0, 70.0, 31.0, 1.8)
    text = text_of(m, "two\nlines", {"processor": 'a "b" \\', "cores": 2}, FIGURES)
    found = parse_description(text, Path("x.toml"))
    assert found.machine == m and found.processor == "a b " and found.figures["rate"]["clock_ghz"] == 3.67
    assert [rounded(v) for v in (0.0, 1234.5, 0.0012349)] == [0.0, 1230.0, 0.00123]
    alone = {k: {n: v for n, v in t.items() if not n.endswith("_all")} for k, t in FIGURES.items()}
    assert described(base, "mine", alone).dram_gbs_all == 41.0


def test_a_member_of_a_team_that_fails_is_heard_of() -> None:
    with team(3) as members, pytest.raises(ZeroDivisionError):
        members.run(lambda k: 1 // (2 - k))


def test_figures_that_move_are_named() -> None:
    probe = probes.Probe("read", "l1_1", 1.0, lambda times: 1.0)
    probe.rates = [10.0, 9.0, 9.0]
    assert probe.rate == 10.0 and not probe.unsteady
    probe.rates = [10.0, 7.0, 7.5]
    assert probe.unsteady


@pytest.mark.skipif(not host.is_x86(), reason="reads x86 assembly")
def test_a_folded_loop_is_noticed() -> None:
    made_for = Processor("x86_64-unknown-linux-gnu", "haswell", "")
    text = f'target triple = "{made_for.triple}"\n' + "".join(
        fma_text(e, 32, True, CHAINS, n) for e, n in (("float", "peak_f32"), ("double", "peak_f64"))
    )
    listing = assembly(text, made_for, level=0)
    _check_listing(listing, made_for.triple, True)
    with pytest.raises(InternalError, match=f"has {CHAINS - 1} multiply-adds"):
        _check_listing(listing.replace("vfmadd", "vadd", 1), made_for.triple, True)


@pytest.mark.parametrize("dot", DOTS, ids=lambda d: f"{d.name}-{d.feature}")
def test_dot_products_are_instructions(dot: Any) -> None:
    """Compiled for a processor that has them, which need not be this one."""
    initialize(everything=True)
    arm = dot.mnemonic in ("bfdot", "sdot")
    triple = "aarch64-unknown-linux-gnu" if arm else "x86_64-unknown-linux-gnu"
    feature = {"avx512_bf16": "avx512bf16,+avx512vl", "avx512_vnni": "avx512vnni,+avx512vl", "avx_vnni": "avxvnni"}
    made_for = Processor(triple, "generic" if arm else "haswell", "+" + feature.get(dot.feature, "bf16,+dotprod"))
    for size in dot.intrinsics:
        found = 0
        for operand in dot.operands:
            try:
                text = f'target triple = "{triple}"\n{dot_text(dot, size, operand)}'
                found = max(found, assembly(text, made_for, level=0).count(f"{dot.mnemonic}\t"))
            except InternalError:
                continue
        assert found == CHAINS, size


def test_room_is_asked_for() -> None:
    assert math.isfinite(measuring.room()) and measuring.room() > 0
