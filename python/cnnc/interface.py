"""cnn.h in ctypes: the descriptor that every compiled network exports, and what its tensors are."""

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass

import numpy as np

ABI_VERSION = 1
ALIGNMENT = 64
FORWARD, TRAIN, GRADIENTS = 0, 1, 2


class Error(RuntimeError):
    """A call that a network refused; `code` is the one of cnn.h, 0 where the network was not asked."""

    def __init__(self, text, code=0):
        super().__init__(text)
        self.code = code


class Threads(ctypes.Structure):
    _fields_ = [
        ("abi_version", c_uint32),
        ("struct_size", c_uint32),
        ("count", c_int32),
        ("reserved", c_int32),
        ("parallel_for", c_void_p),
        ("pool", c_void_p),
    ]


class CTensor(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("dtype", c_int),
        ("rank", c_int32),
        ("dims", POINTER(c_int64)),
        ("limit", c_int64),
        ("initial", c_char_p),
        ("rate", c_double),
        ("offset", c_int64),
        ("stored", c_int64),
        ("axis_count", c_int32),
        ("line", c_int32),
        ("axes", c_void_p),
    ]


class Memory(ctypes.Structure):
    _fields_ = [("fixed", c_int64), ("per_image", c_int64), ("per_thread", c_int64),
                ("per_run", c_int64)]


_inputs = POINTER(c_void_p)
_threads = POINTER(Threads)


def _function(*arguments, result=c_int):
    return ctypes.CFUNCTYPE(result, *arguments)  # the lock of the interpreter is released during each call


class Model(ctypes.Structure):
    _fields_ = [
        ("abi_version", c_uint32),
        ("struct_size", c_uint32),
        ("name", c_char_p),
        ("compiler", c_char_p),
        ("march", c_char_p),
        ("cpu", c_char_p),
        ("features", c_char_p),
        ("flags", c_char_p),
        ("source", c_char_p),
        ("fingerprint", c_uint64),
        ("input_count", c_int32),
        ("output_count", c_int32),
        ("parameter_count", c_int32),
        ("state_count", c_int32),
        ("train_input_count", c_int32),
        ("reserved", c_int32),
        ("inputs", POINTER(CTensor)),
        ("outputs", POINTER(CTensor)),
        ("parameters", POINTER(CTensor)),
        ("states", POINTER(CTensor)),
        ("train_inputs", POINTER(CTensor)),
        ("parameter_bytes", c_int64),
        ("state_bytes", c_int64),
        ("memory", Memory * 3),
        ("embedded", c_void_p),
        ("forward", _function(c_void_p, c_int64, _inputs, _inputs, c_void_p, _threads)),
        ("train_step", _function(c_void_p, c_void_p, c_int64, _inputs, POINTER(c_float), c_void_p, _threads)),
        ("gradients", _function(c_void_p, c_void_p, c_int64, _inputs, POINTER(c_float), c_void_p, c_void_p, _threads)),
        ("workspace_bytes", _function(c_int64, c_int, c_int, result=c_int64)),
        ("init_parameters", _function(c_void_p, c_uint64)),
        ("init_state", _function(c_void_p, c_uint64)),
        ("set_parameter", _function(c_void_p, c_char_p, c_void_p, c_int64)),
        ("get_parameter", _function(c_void_p, c_char_p, c_void_p, c_int64)),
        ("set_state", _function(c_void_p, c_char_p, c_void_p, c_int64)),
        ("get_state", _function(c_void_p, c_char_p, c_void_p, c_int64)),
        ("load_parameters", _function(c_void_p, c_char_p)),
        ("save_parameters", _function(c_void_p, c_char_p)),
        ("create_threads", _function(c_int, POINTER(_threads))),
        ("free_threads", _function(_threads, result=None)),
        ("error", _function(c_int, result=c_char_p)),
        ("target", _function(result=c_char_p)),
    ]


_dtypes = ["float32", "float64", "bfloat16", "int8", "uint8", "int32", "int64", "bool"]


@dataclass(frozen=True)
class Tensor:
    """What a network says of an input, an output, a parameter or a state."""

    name: str
    dtype: str  # "float32"; NumPy has no "bfloat16": such tensors come and go as float32
    shape: tuple  # an extent with the batch is negative: -1 is n, -4 is 4 * n
    limit: int  # integers must be in [0, limit); 0: any

    @staticmethod
    def of(tensor):
        shape = tuple(tensor.dims[i] for i in range(tensor.rank))
        return Tensor(tensor.name.decode(), _dtypes[tensor.dtype], shape, tensor.limit)

    def shape_for(self, batch):
        return tuple(-extent * batch if extent < 0 else extent for extent in self.shape)

    def __str__(self):
        extents = ("n" if e == -1 else f"{-e}n" if e < 0 else str(e) for e in self.shape)
        return f"{self.name}: {self.dtype}[{','.join(extents)}]"

    @property
    def numpy_dtype(self):
        """Of the arrays that users see."""
        return np.dtype("float32" if self.dtype == "bfloat16" else self.dtype)

    @property
    def stored_dtype(self):
        """Of the bytes that the network reads and writes."""
        return np.dtype("uint16" if self.dtype == "bfloat16" else self.dtype)


def to_bfloat16(array):
    """float32 to the upper halves of its bits, rounded to nearest even; a NaN stays one."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))
    return np.where(np.isnan(array), np.uint32(0x7FC0), rounded >> 16).astype(np.uint16)


def from_bfloat16(array):
    return (array.astype(np.uint32) << 16).view(np.float32)


def as_array(value):
    """An array on the host, of the same memory where there is any: NumPy's own, DLPack's, or whatever NumPy can read."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        return np.asarray(value)
    cpu = 1
    device = value.__dlpack_device__()[0]
    if int(device) != cpu:
        raise TypeError("the tensor is on another device: networks of cnnc run on the host, give it one from there")
    return np.from_dlpack(value)


def stored(tensor, value, where):
    """`value` as the network reads it: no copy where element type, order and alignment are right already."""
    array = as_array(value)
    if tensor.dtype == "bfloat16" and array.dtype != np.uint16:
        array = to_bfloat16(array.astype(np.float32, copy=False))
    wanted = tensor.stored_dtype
    if array.dtype != wanted:
        if not np.can_cast(array.dtype, wanted, "same_kind"):
            raise TypeError(f"{where}: {tensor} cannot be read from {array.dtype}")
        cast = array.astype(wanted)
        # Labels often come as int64; one that the narrower type cannot hold must not become another.
        if wanted.kind in "iu" and not np.array_equal(cast, array):
            raise ValueError(f"{where}: {tensor} gets a value that {wanted} cannot hold")
        array = cast
    return np.require(array, requirements="CA")


def aligned_block(bytes):
    """Zeroed bytes at a multiple of 64; at least one, so that there is an address."""
    bytes = max(bytes, 1)
    memory = np.zeros(bytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + bytes]
