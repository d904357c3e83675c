"""Machine descriptions: those that come along, files, what is refused and where, and which one a machine gets."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import weft
from weft.backends import host
from weft.backends.isa import INSTRUCTION_SETS, best_set
from weft.backends.machine import MACHINES, Machine, load_machine, machine_names, parse_description, read_description
from weft.backends.target import get_target
from weft.ir.errors import TargetError, UserError

TEXT = (MACHINES / "avx512.toml").read_text()
HERE = Path("here.toml")


def test_every_instruction_set_has_a_description() -> None:
    assert set(machine_names()) == set(INSTRUCTION_SETS)
    for name in machine_names():
        machine = load_machine(name)
        assert (machine.name, machine.isa) == (name, name)
        assert machine.vector_bytes == machine.instructions.vector_bytes
        assert machine.vector_registers == machine.instructions.vector_registers
        assert machine.has_masks == machine.instructions.has_masks


@pytest.mark.parametrize(
    "old,new,line,why",
    [
        ("units = 2", "units = 0", 3, "'units' = 0 is not a positive integer"),
        ("units = 2", "units = 2.5", 3, "not a positive integer"),
        ("units = 2", "units = true", 3, "not a number"),
        ("units = 2", 'units = "2"', 3, "not a number"),
        ("line_bytes = 64", "line_bytes = 48", 10, "power of two"),
        ("clock_ghz = 3.7", "clock_ghz = nan", 9, "a number from"),
        ("clock_ghz = 3.7", "clock_ghz = -1", 9, "a number from"),
        ("clock_ghz = 3.7", "clock = 3.7", 9, "no field 'clock'"),
        ("clock_ghz = 3.7", '"a(b [" = 3.7', 9, r"no field 'a\(b \['"),
        ("dram_gbs = 40.0\n", "", 20, "it lacks dram_gbs$|it lacks dram_gbs\n"),
        ("dram_gbs = 40.0\ndram_gbs_all = 60.0", "dram_gbs_all = 60.0\ndram_gbs = -4", 19, "number from"),
        ("clock_ghz = 3.7\n", "", 20, "it lacks clock_ghz"),
        ('isa = "avx512"', 'isa = "avx1024"', 2, "an instruction set: avx512bf16, avx512, avx2"),
        ('isa = "avx512"', 'isa = "avx2"', 4, "avx2 has vectors of 32 bytes, not of 64"),
        ("l2_bytes = 1048576", "l2_bytes = 16384", 11, "l1_bytes is more than l2_bytes"),
        ("has_masks = true", "has_masks = 1", 21, "true or false"),
        ("fma_latency = 4", "fma_latency = 4 = 4", 8, "not TOML"),
        ("fma_latency = 4", "fma_latency = 4\nfma_latency = 4", 9, "not TOML"),
        ("has_masks = true", "has_masks = true\n[measured]\nread = 3", 22, r"\[measured\] tables of numbers"),
        ("has_masks = true", "has_masks = true\n[host]\nprocessor = [1]", 22, r"\[host\] has to be a table"),
    ],
)
def test_what_is_wrong_has_a_line(old: str, new: str, line: int, why: str) -> None:
    assert old in TEXT
    with pytest.raises(TargetError, match=why) as found:
        parse_description(TEXT.replace(old, new, 1), HERE)
    assert found.value.location.line == line and str(found.value).startswith(f"here.toml:{line}:1: ")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"none\.toml: No such file"):
        read_description(tmp_path / "none.toml")
    with pytest.raises(TargetError, match="Is a directory"):
        read_description(tmp_path)
    for data, why in ((b"\xff\xfe", "not UTF-8"), (b"#" * 70000, "longer than"), (b"a = " + b"[" * 9000, "not TOML")):
        (tmp_path / "bad.toml").write_bytes(data)
        with pytest.raises(TargetError, match=why):
            read_description(tmp_path / "bad.toml")


def written(path: Path, processor: str, **changes: object) -> Path:
    machine = dataclasses.replace(load_machine(host.machine_name()), name="mine", **changes)  # type: ignore[arg-type]
    fields = {f.name: getattr(machine, f.name) for f in dataclasses.fields(Machine)}
    texts = [f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {str(v).lower()}" for k, v in fields.items()]
    path.write_text("\n".join([*texts, "[host]", f'processor = "{processor}"', "cores = 3"]) + "\n")
    return path


@pytest.fixture
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEFT_MACHINE_DIR", str(tmp_path))
    return tmp_path / "machine.toml"


def test_a_measured_description_is_used(user_file: Path) -> None:
    assert host.host_machine().name == host.machine_name()
    written(user_file, host.processor(), l2_gbs=77.0, units=99)
    for target in ("cpu", "c"):
        machine = get_target(target).machine
        assert (machine.name, machine.l2_gbs, machine.units) == ("mine", 77.0, host.usable_cores())
    assert host.host_description().cores == 3
    written(user_file, host.processor(), l2_gbs=78.5)  # a new state of the file is seen
    assert get_target("cpu").machine.l2_gbs == 78.5
    assert get_target("cpu", host.machine_name()).machine.name == host.machine_name()


def test_one_of_another_processor_is_not(user_file: Path) -> None:
    written(user_file, "Abacus 9000")
    with pytest.warns(host.MachineWarning, match="measured on 'Abacus 9000', this is"):
        assert host.host_machine().name == host.machine_name()
    lacking = next(s for s in INSTRUCTION_SETS.values() if s.architecture != host.architecture())
    text = written(user_file, host.processor(), vector_bytes=16).read_text()
    user_file.write_text(re.sub('isa = "[a-z0-9]*"', f'isa = "{lacking.name}"', text))
    with pytest.warns(host.MachineWarning, match=f"does not run {lacking.name}"):
        assert host.host_machine().name == host.machine_name()


def test_a_broken_one_is_an_error_with_its_line(user_file: Path) -> None:
    user_file.write_text("units = 2\nunits = 3\n")
    with pytest.raises(TargetError, match=rf"{re.escape(str(user_file))}:2:1: machine description: not TOML"):
        get_target("cpu").machine  # noqa: B018
    with pytest.raises(UserError, match="not TOML"):
        weft.compile("op f(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] + 1 }", bind={"N": 4})


def test_a_path_is_a_machine(tmp_path: Path) -> None:
    path = written(tmp_path / "other.toml", "Abacus 9000", l1_gbs=5.0)
    op = "op f(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] * 2 }"
    kernel = weft.compile(op, bind={"N": 5}, machine=str(path))
    assert kernel.variant().target.machine.l1_gbs == 5.0
    kernel.save(tmp_path / "saved")
    path.unlink()  # what was scheduled needs no description any more
    assert weft.load(tmp_path / "saved")(np.arange(5, dtype=np.float32)).tolist() == [0, 2, 4, 6, 8]
    with pytest.raises(TargetError, match=r"other\.toml: No such file"):
        weft.compile(op, machine=str(path))
    mine = written(tmp_path / "mine.toml", host.processor())
    assert get_target("cpu", str(mine)).native and not get_target("cpu", str(written(path, "x"))).native  # type: ignore[attr-defined]


def test_names_that_do_not_exist() -> None:
    for target in ("cpu", "c"):
        with pytest.raises(TargetError, match="unknown machine 'abacus'"):
            get_target(target, "abacus")


def test_a_processor_gets_the_most_capable_set_it_runs() -> None:
    old = frozenset({"sse2", "ssse3", "sse4_1", "sse4_2"})
    v3 = old | {"avx", "avx2", "fma", "f16c"}
    v4 = v3 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
    known = (frozenset({"sse2"}), old, v3 - {"f16c"}, v3, v4 - {"avx512vl"}, v4, v4 | {"avx512_bf16"})
    found = [best_set("x86_64", f).name for f in known]
    assert found == ["sse2", "simd128", "simd128", "avx2", "avx2", "avx512", "avx512bf16"]
    assert best_set("aarch64", frozenset({"asimd"})).name == "neon"
    assert best_set("vax", frozenset()).vector_bytes == 16


def test_the_line_size_is_the_machines() -> None:
    """Prefetches ask for whole lines of the machine they are for, in both targets."""
    from weft.backends.c.emit import emit_c
    from weft.backends.cpu.target import CpuTarget
    from weft.ir.gir_parser import parse_program

    program = parse_program("""
program ahead(N) {
  tensor x: f32[N, 128] input
  tensor y: f32[N] output
  kernel main {
    loop i in 0..N {
      prefetch<128> x[i + 1, 0]
      v = load x[i, 0]
      store y[i] = v
    }
  }
}""")
    for line in (32, 64, 128):
        machine = dataclasses.replace(load_machine("simd128"), line_bytes=line)
        text = CpuTarget("cpu", "simd128", False, machine).ir(program)
        assert text.count("call void @llvm.prefetch") == 512 // line
        assert f", 512, {line});" in emit_c(program, machine).files["ahead.c"]
