"""Arguments of a call: what is accepted without a copy, and what is refused with a reason."""

from __future__ import annotations

import sys
import types
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from stub_target import kernel, op, tensor
from weft.compiler import arrays, memory
from weft.compiler.kernel import Kernel
from weft.ir import gir
from weft.ir.dtypes import DType
from weft.ir.errors import BindError, CallError
from weft.ir.expr import Call, Fn, Var, const

F32 = DType.F32


def doubling(dtype: DType = F32) -> Kernel:
    program = op([tensor("x", dtype, "M", "N")], [tensor("y", dtype, "M", "N")], ["M", "N"])
    return kernel(program, lambda x, y: np.copyto(y, x + x))


def adding() -> Kernel:
    inputs = [tensor("a", F32, "N"), tensor("b", F32, "N")]
    return kernel(op(inputs, [tensor("y", F32, "N")], ["N"]), lambda a, b, y: np.copyto(y, a + b))


@pytest.fixture
def x() -> np.ndarray[Any, Any]:
    return np.arange(12, dtype=np.float32).reshape(3, 4)


def test_positional_named_and_out(x: Any) -> None:
    k = doubling()
    np.testing.assert_array_equal(k(x), x + x)
    np.testing.assert_array_equal(k(x=x), x + x)
    y = np.empty_like(x)
    assert k(x, out=y) is y
    np.testing.assert_array_equal(y, x + x)
    np.testing.assert_array_equal(k(x, M=3), x + x)


def test_several_outputs() -> None:
    program = op([tensor("x", F32, "N")], [tensor("y", F32, "N"), tensor("s", F32)], ["N"])

    def run(x: Any, y: Any, s: Any) -> None:
        y[...] = x + 1
        s[...] = x.sum()

    k = kernel(program, run)
    x = np.ones(5, np.float32)
    y, s = k(x)
    assert s.shape == () and s == 5 and y.tolist() == [2.0] * 5
    mine = np.empty(5, np.float32)
    y, s = k(x, out=(mine, None))
    assert y is mine and s == 5
    y, _ = k(x, out={"y": mine})
    assert y is mine
    with pytest.raises(CallError, match="has 2 outputs"):
        k(x, out=mine)
    with pytest.raises(CallError, match="no output 'z'"):
        k(x, out={"z": mine})


def test_inputs_missing_extra_unknown_and_twice(x: Any) -> None:
    k = adding()
    v = np.ones(2, np.float32)
    with pytest.raises(CallError, match="needs input b"):
        k(v)
    with pytest.raises(CallError, match="takes 2 inputs"):
        k(v, v, v)
    with pytest.raises(CallError, match="no input or symbol 'c'"):
        k(v, v, c=v)
    with pytest.raises(CallError, match="twice"):
        k(v, v, a=v)


def test_wrong_dtype_names_the_remedy(x: Any) -> None:
    with pytest.raises(CallError, match=r"dtype f64, it must be f32[\s\S]*x\.astype\(np\.float32\)"):
        doubling()(x.astype(np.float64))
    with pytest.raises(CallError, match="byte order"):
        doubling()(x.astype(">f4"))
    with pytest.raises(CallError, match="dtype object"):
        doubling()(x.astype(object))
    with pytest.raises(CallError, match="dtype complex64"):
        doubling()(x.astype(np.complex64))


def test_wrong_rank_and_extents(x: Any) -> None:
    with pytest.raises(CallError, match="1 dimensions"):
        doubling()(x[0])
    with pytest.raises(BindError, match=r"dimension 0 of 'b' is 3, but N = 2 with N = 2 \(from dimension 0 of 'a'\)"):
        adding()(np.ones(2, np.float32), np.ones(3, np.float32))
    with pytest.raises(BindError, match="dimension 0 of 'y'"):
        adding()(*[np.ones(2, np.float32)] * 2, out=np.ones(3, np.float32))
    with pytest.raises(BindError, match=r"M = 5 \(from the call\)"):
        doubling()(x, M=5)


def test_strided_views_are_refused_with_a_remedy(x: Any) -> None:
    with pytest.raises(CallError, match=r"not contiguous[\s\S]*np\.ascontiguousarray\(x\)"):
        doubling()(x[:, ::2])
    with pytest.raises(CallError, match="not contiguous"):
        doubling()(x.T)
    with pytest.raises(CallError, match="not contiguous"):
        doubling()(x[::-1])
    with pytest.raises(CallError, match="an output array of its own"):
        doubling()(x, out=np.empty((4, 3), np.float32).T)
    np.testing.assert_array_equal(doubling()(x[1:2, ::-1][:, :1]), [[14.0]])  # strides of size 1 do not matter


def test_misaligned_views_are_refused() -> None:
    raw = np.zeros(17, np.uint8)[1:].view(np.float32).reshape(1, 4)
    with pytest.raises(CallError, match="multiple of its element's 4 bytes"):
        doubling()(raw)


def test_read_only_output(x: Any) -> None:
    y = np.empty_like(x)
    y.flags.writeable = False
    with pytest.raises(CallError, match="output 'y' is read-only"):
        doubling()(x, out=y)


def test_read_only_input_is_fine(x: Any) -> None:
    x.flags.writeable = False
    np.testing.assert_array_equal(doubling()(x), x + x)


def test_outputs_overlap_nothing() -> None:
    memory_ = np.zeros(12, np.float32)
    k = adding()
    a, b = memory_[:4], memory_[4:8]
    with pytest.raises(CallError, match="output 'y' overlaps 'a' by 16 bytes"):
        k(a, b, out=a)
    with pytest.raises(CallError, match="output 'y' overlaps 'b' by 4 bytes"):
        k(a, b, out=memory_[7:11])
    assert k(a, b, out=memory_[8:]) is not None  # neighbours share no byte
    np.testing.assert_array_equal(k(a, memory_[2:6]), np.zeros(4))  # inputs may overlap


def test_outputs_overlap_each_other() -> None:
    program = op([tensor("x", F32, "N")], [tensor("y", F32, "N"), tensor("z", F32, "N")], ["N"])
    k = kernel(program, lambda x, y, z: None)
    shared = np.zeros(6, np.float32)
    with pytest.raises(CallError, match="output 'z' overlaps 'y' by 8 bytes"):
        k(np.ones(4, np.float32), out=(shared[:4], shared[2:]))


def test_subclasses_are_refused(x: Any) -> None:
    for odd in (np.ma.masked_array(x), x.view(np.matrix), x.view(np.recarray)):
        with pytest.raises(CallError, match="extra meaning"):
            doubling()(odd)


def test_memory_maps_are_arrays(x: Any, tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(doubling()(np.load(tmp_path / "x.npy", mmap_mode="r")), x + x)


@pytest.mark.parametrize("value", [[[1.0]], None, "text", {}, object()])
def test_things_that_are_no_arrays(value: Any) -> None:
    with pytest.raises(CallError, match="not an array"):
        doubling()(value)


def scaling(dtype: DType) -> Kernel:
    program = op([tensor("s", dtype)], [tensor("y", dtype)])
    return kernel(program, lambda s, y: np.copyto(y, s))


def test_numbers_for_rank_zero() -> None:
    assert scaling(F32)(2.5) == np.float32(2.5)
    assert scaling(F32)(2) == 2
    assert scaling(F32)(np.float32(3)) == 3
    assert scaling(F32)(np.array(3, np.float32)) == 3
    assert scaling(DType.I8)(-128) == -128
    assert scaling(DType.BOOL)(True) == np.True_
    assert scaling(DType.BF16)(1.5) == ml_dtypes.bfloat16(1.5)
    for dtype, bad in [(DType.I8, 128), (DType.U8, -1), (DType.I32, 1.0), (DType.I32, True), (F32, True)]:
        with pytest.raises(CallError, match="not a value"):
            scaling(dtype)(bad)
    with pytest.raises(CallError, match="not a value"):
        scaling(DType.BOOL)(1)
    with pytest.raises(CallError, match="beyond the range"):
        scaling(F32)(10**400)
    with pytest.raises(CallError, match="must be an array of 2 dimensions"):
        doubling()(1.0)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_zero_extents(shape: tuple[int, int]) -> None:
    y = doubling()(np.empty(shape, np.float32))
    assert y.shape == shape and y.dtype == np.float32
    same = np.empty(shape, np.float32)
    assert doubling()(same, out=np.empty(shape, np.float32)).shape == shape


class Exporter:
    """DLPack and nothing else."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def test_dlpack_is_zero_copy(x: Any) -> None:
    adopted = arrays.adopt(Exporter(x), tensor("x", F32, "M", "N"))
    assert np.shares_memory(adopted, x)
    np.testing.assert_array_equal(doubling()(Exporter(x)), x + x)
    with pytest.raises(CallError, match="overlaps"):
        doubling()(Exporter(x), out=x)


def test_dlpack_that_fails() -> None:
    class Broken:
        def __dlpack__(self, **keywords: Any) -> Any:
            raise RuntimeError("device lost\nmore")

        def __dlpack_device__(self) -> tuple[int, int]:
            return 1, 0

    with pytest.raises(CallError, match=r"Broken\) cannot be seen as an array: device lost"):
        doubling()(Broken())


class FakeTorchTensor:
    """What `arrays` uses of a torch tensor; the real one is tried where torch is installed."""

    def __init__(self, bits: Any, dtype: str, device: str = "cpu", requires_grad: bool = False) -> None:
        self.bits, self.dtype, self.requires_grad = bits, dtype, requires_grad
        self.device = types.SimpleNamespace(type=device)

    def view(self, dtype: str) -> FakeTorchTensor:
        return FakeTorchTensor(self.bits, dtype)

    def numpy(self) -> Any:
        if self.dtype == "bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.bits


def test_torch_bfloat16_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.SimpleNamespace(Tensor=FakeTorchTensor, bfloat16="bfloat16", int16="int16")
    monkeypatch.setitem(sys.modules, "torch", fake)
    values = np.arange(4, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(2, 2)
    given = FakeTorchTensor(values.view(np.int16), "bfloat16")
    out = FakeTorchTensor(np.zeros((2, 2), np.int16), "bfloat16")
    assert doubling(DType.BF16)(given, out=out) is out
    np.testing.assert_array_equal(out.bits.view(ml_dtypes.bfloat16), values + values)
    with pytest.raises(CallError, match="runs on the CPU"):
        doubling(DType.BF16)(FakeTorchTensor(values.view(np.int16), "bfloat16", device="cuda"))
    with pytest.raises(CallError, match="requires a gradient"):
        doubling(DType.BF16)(FakeTorchTensor(values.view(np.int16), "bfloat16", requires_grad=True))


def test_bound_calls_only_compute(x: Any) -> None:
    y = np.empty_like(x)
    call = doubling().bind(x, out=y)
    call()
    np.testing.assert_array_equal(y, x + x)
    x += 1
    call()
    np.testing.assert_array_equal(y, x + x)
    assert call.outputs[0] is y


def test_temporaries_are_allocated_per_call(x: Any) -> None:
    seen: list[int] = []

    def run(x: Any, y: Any, t: Any) -> None:
        t[...] = x
        seen.append(t.size)
        y[...] = t + t

    program = op([tensor("x", F32, "M", "N")], [tensor("y", F32, "M", "N")], ["M", "N"])
    temporary = gir.Tensor("t", F32, (Var("M"), Var("N")), gir.Role.TEMP)
    np.testing.assert_array_equal(kernel(program, run, temps=[temporary])(x), x + x)
    assert seen == [12]


def test_extents_that_are_expressions() -> None:
    twice = Call(Fn.MUL, (Var("N"), const(2)))
    k = kernel(op([tensor("x", F32, twice)], [tensor("y", F32, "N")], ["N"]), lambda x, y: np.copyto(y, x[::2]))
    assert k(np.arange(6, dtype=np.float32)).tolist() == [0.0, 2.0, 4.0]
    with pytest.raises(BindError, match=r"is 5, which no N makes equal to"):
        k(np.ones(5, np.float32))


def test_symbols_that_no_shape_determines() -> None:
    program = op([tensor("x", F32, "N")], [tensor("y", F32, "K")], ["N", "K"])
    k = kernel(program, lambda x, y: y.fill(1))
    with pytest.raises(BindError, match="nothing determines symbol 'K'"):
        k(np.ones(2, np.float32))
    assert k(np.ones(2, np.float32), K=3).shape == (3,)
    assert k(np.ones(2, np.float32), out=np.empty(4, np.float32)).shape == (4,)
    with pytest.raises(BindError, match="not an integer"):
        k(np.ones(2, np.float32), K=2.5)
    with pytest.raises(BindError, match="would be -1"):
        k(np.ones(2, np.float32), K=-1)
    with pytest.raises(BindError, match="bytes"):
        k(np.ones(2, np.float32), K=2**62)


def test_facts_hold_at_the_call() -> None:
    fact = Call(Fn.EQ, (Call(Fn.MOD, (Var("N"), const(4))), const(0)))
    k = kernel(op([tensor("x", F32, "N")], [tensor("y", F32, "N")], ["N"], facts=(fact,)), lambda x, y: None)
    k(np.ones(8, np.float32))
    with pytest.raises(BindError, match="N = 6"):
        k(np.ones(6, np.float32))


def test_large_outputs_are_reused_and_aligned() -> None:
    size = memory.LARGE // 4
    first = memory.empty((size,), np.dtype(np.float32))
    where = arrays.address(first)
    assert where % memory.HUGE_PAGE == 0
    view = first[1:]
    del first
    view[0] = 1  # the view keeps the mapping
    assert arrays.address(memory.empty((size,), np.dtype(np.float32))) != where
    del view
    assert memory.POOL.held >= size * 4
    assert arrays.address(memory.empty((3,), np.dtype(np.float32))) % memory.ALIGNMENT == 0


def test_poisoned_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 8: with WEFT_POISON nothing left over from an earlier call can stand for a result."""
    monkeypatch.setenv("WEFT_POISON", "1")
    assert np.isnan(memory.empty((7,), np.dtype(np.float32))).all()


def test_too_much_memory_is_a_call_error() -> None:
    with pytest.raises(CallError, match="no memory for y of"):
        memory.empty((1 << 50,), np.dtype(np.float32), "y")
