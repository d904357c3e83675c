"""What a kernel accepts as arguments: NumPy arrays and anything with DLPack, seen without a copy, or refused with a
reason. Nothing here knows how a kernel runs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.dtypes import DType, from_numpy
from ..ir.errors import CallError
from ..ir.op import Tensor

Array = np.ndarray[Any, np.dtype[Any]]


def adopt(value: object, tensor: Tensor, *, writable: bool = False) -> Array:
    """`value` as a C-contiguous array of the tensor's dtype and rank over the same memory.

    A Python number is accepted for a rank-0 input. Extents are not checked here (`extents.solve` does). Raises
    CallError naming the tensor, what was found and what to try.
    """
    array = _view(value, tensor, writable)
    if array.dtype != tensor.dtype.numpy:
        raise CallError(_dtype_message(array, tensor), tensor.location, remedy=_dtype_remedy(array, tensor))
    check_rank(array, tensor)
    if not array.flags.c_contiguous:
        raise CallError(
            f"'{tensor.name}' is not contiguous: shape {array.shape} with strides {array.strides} bytes",
            tensor.location,
            remedy="an output array of its own" if writable else f"np.ascontiguousarray({tensor.name})",
        )
    if not array.flags.aligned and array.size:
        raise CallError(
            f"'{tensor.name}' lies at an address that is not a multiple of its element's {tensor.dtype.bytes} bytes",
            tensor.location,
            remedy=f"{tensor.name}.copy()",
        )
    if writable and not array.flags.writeable:
        raise CallError(f"output '{tensor.name}' is read-only", tensor.location, remedy="an array that may be written")
    return array


def check_rank(array: Array, tensor: Tensor) -> None:
    """Raises CallError where the array has another number of dimensions than its tensor."""
    if array.ndim != len(tensor.shape):
        raise CallError(
            f"'{tensor.name}' has {array.ndim} dimensions {array.shape}, it must have {len(tensor.shape)}",
            tensor.location,
        )


def address(array: Array) -> int:
    """Where the first element lies."""
    try:
        return _address_of(_bytes_of(array))  # a third of what `array.ctypes` costs
    except (TypeError, ValueError, BufferError):  # read-only, empty, or a dtype that buffers do not know
        pointer: int = array.ctypes.data
        return pointer


_address_of = ctypes.addressof
_bytes_of: Callable[[Any], ctypes.c_char] = ctypes.c_char.from_buffer


def check_overlap(tensors: Sequence[Tensor], arrays: Sequence[Array], addresses: Sequence[int], inputs: int) -> None:
    """Raises CallError where an output shares a byte with an input or another output. The first `inputs` are inputs,
    which may overlap each other. All are contiguous, so that comparing first and last bytes is exact."""
    for k in range(inputs, len(arrays)):
        start = addresses[k]
        end = start + arrays[k].nbytes
        for other in range(k):
            first = addresses[other]
            if first < end and start < first + arrays[other].nbytes:
                shared = min(end, first + arrays[other].nbytes) - max(start, first)
                if shared > 0:  # an empty array may lie inside of another
                    name = tensors[k].name
                    raise CallError(
                        f"output '{name}' overlaps '{tensors[other].name}' by {shared} bytes",
                        remedy=f"another array for '{name}', or none: the run-time allocates it",
                    )


def _view(value: object, tensor: Tensor, writable: bool) -> Array:
    if type(value) is np.ndarray or type(value) is np.memmap:
        return np.asarray(value)
    if isinstance(value, np.ndarray):
        kind = type(value).__name__
        raise CallError(
            f"'{tensor.name}' is a {kind}, whose extra meaning a kernel would drop",
            tensor.location,
            remedy=f"its plain data: np.asarray({tensor.name})",
        )
    if isinstance(value, bool | int | float | np.generic) and not writable:
        return _scalar(value, tensor)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_torch(torch, value, tensor)
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(value, tensor)
    raise CallError(
        f"'{tensor.name}' is a {type(value).__name__}, not an array",
        tensor.location,
        remedy="a NumPy array or any object with __dlpack__",
    )


def _scalar(value: bool | int | float | np.generic[Any], tensor: Tensor) -> Array:
    """A number for a rank-0 tensor: its kind must fit, and an integer its range."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    if tensor.shape:
        raise CallError(
            f"'{tensor.name}' is the number {value!r}, it must be an array of {len(tensor.shape)} dimensions",
            tensor.location,
        )
    dtype = tensor.dtype
    if dtype is DType.BOOL:
        fits = isinstance(value, bool)
    elif dtype.is_int:
        limits = np.iinfo(dtype.numpy)
        fits = isinstance(value, int) and not isinstance(value, bool) and int(limits.min) <= value <= int(limits.max)
    else:
        fits = not isinstance(value, bool)
    if not fits:
        raise CallError(f"'{tensor.name}' is {value!r}, which is not a value of {dtype}", tensor.location)
    try:
        return np.array(float(value) if dtype.is_float else value, dtype.numpy)
    except OverflowError:
        raise CallError(f"'{tensor.name}' is an integer beyond the range of {dtype}", tensor.location) from None


def _from_torch(torch: Any, value: Any, tensor: Tensor) -> Array:
    """A CPU tensor, bf16 included (which NumPy's DLPack does not know)."""
    if value.device.type != "cpu":
        raise CallError(
            f"'{tensor.name}' is on {value.device}, this kernel runs on the CPU", tensor.location, remedy=".cpu()"
        )
    if value.requires_grad:
        raise CallError(
            f"'{tensor.name}' requires a gradient, which a kernel does not record",
            tensor.location,
            remedy=f"{tensor.name}.detach()",
        )
    try:
        if value.dtype == torch.bfloat16:
            return np.asarray(value.view(torch.int16).numpy().view(DType.BF16.numpy))
        return np.asarray(value.numpy())
    except (RuntimeError, TypeError) as error:
        raise CallError(f"'{tensor.name}' cannot be seen as an array: {_first_line(error)}", tensor.location) from None


def _from_dlpack(value: Any, tensor: Tensor) -> Array:
    try:
        return np.from_dlpack(value)
    except Exception as error:  # whatever another library's __dlpack__ raises is about the argument
        raise CallError(
            f"'{tensor.name}' ({type(value).__name__}) cannot be seen as an array: {_first_line(error)}",
            tensor.location,
            remedy="a CPU array of a supported dtype",
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _dtype_message(array: Array, tensor: Tensor) -> str:
    if array.dtype.newbyteorder("=") == tensor.dtype.numpy:
        return f"'{tensor.name}' has the byte order of another machine ({array.dtype.str})"
    found = from_numpy(array.dtype)
    return f"'{tensor.name}' has dtype {found or array.dtype}, it must be {tensor.dtype}"


def _dtype_remedy(array: Array, tensor: Tensor) -> str:
    name = tensor.dtype.numpy.name
    spelled = f"ml_dtypes.{name}" if tensor.dtype is DType.BF16 else f"np.{name}"
    return f"{tensor.name}.astype({spelled})" if array.dtype.kind in "biufV" else f"an array of {spelled}"
