"""ONNX Runtime's C interface through ctypes.

Its function table only grows at the end, so that positions are its ABI; order and types:
https://github.com/microsoft/onnxruntime, include/onnxruntime/core/session/onnxruntime_c_api.h.
"""
import ctypes
import glob
import os
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATTERN = "build/peers/node_modules/onnxruntime-node/bin/napi-v*/linux/x64/libonnxruntime.so.1"

GET_ERROR_MESSAGE, CREATE_ENV, CREATE_SESSION_FROM_ARRAY, RUN, CREATE_SESSION_OPTIONS = 2, 3, 8, 9, 10
SET_LOG_SEVERITY, SET_OPTIMIZATION_LEVEL, SET_INTRA_OP_THREADS, SET_INTER_OP_THREADS = 22, 23, 24, 25
CREATE_TENSOR_WITH_DATA, GET_TENSOR_DATA, GET_ELEMENT_TYPE, GET_DIMENSION_COUNT, GET_DIMENSIONS = 49, 51, 60, 61, 62
GET_TENSOR_SHAPE, CREATE_CPU_MEMORY_INFO = 65, 69
RELEASE_STATUS, RELEASE_SESSION, RELEASE_VALUE, RELEASE_SHAPE, RELEASE_SESSION_OPTIONS = 93, 95, 96, 99, 100

DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
NUMBERS = {np.dtype(dtype): number for number, dtype in DTYPES.items()}


class Refused(Exception):
    """What ONNX Runtime said."""


def library():
    """The path, or None where it has not been fetched (bench/compare does)."""
    return next(iter(sorted(glob.glob(os.path.join(ROOT, PATTERN)))), None)


class OnnxRuntime:
    def __init__(self, path):
        base = ctypes.CDLL(path).OrtGetApiBase
        base.restype = POINTER(c_void_p)
        table, version = (base()[i] for i in range(2))
        self.version = ctypes.CFUNCTYPE(c_char_p)(version)().decode()
        # Every version since 1.0 offers the positions above.
        self.table = ctypes.cast(ctypes.CFUNCTYPE(c_void_p, c_uint32)(table)(1), POINTER(c_void_p))
        self.env = self.made(CREATE_ENV, c_int(4), c_char_p(b"peers"))  # 4: fatal errors only
        self.memory = self.made(CREATE_CPU_MEMORY_INFO, c_int(0), c_int(0))

    def call(self, function, *arguments):
        types = [type(argument) for argument in arguments]
        status = ctypes.CFUNCTYPE(c_void_p, *types)(self.table[function])(*arguments)
        if status:
            message = ctypes.CFUNCTYPE(c_char_p, c_void_p)(self.table[GET_ERROR_MESSAGE])(status).decode()
            self.release(RELEASE_STATUS, status)
            raise Refused(message)

    def made(self, function, *arguments):
        result = (c_void_p * 1)()
        self.call(function, *arguments, result)
        return c_void_p(result[0])

    def release(self, function, what):
        ctypes.CFUNCTYPE(None, c_void_p)(self.table[function])(what)

    def session(self, model, level=99):
        """The bytes of a model; level 0 leaves out what ONNX Runtime fuses and folds."""
        options = self.made(CREATE_SESSION_OPTIONS)
        try:
            self.call(SET_OPTIMIZATION_LEVEL, options, c_int(level))
            self.call(SET_INTRA_OP_THREADS, options, c_int(1))
            self.call(SET_INTER_OP_THREADS, options, c_int(1))
            self.call(SET_LOG_SEVERITY, options, c_int(4))
            return Session(self, self.made(CREATE_SESSION_FROM_ARRAY, self.env, c_char_p(model),
                                           c_size_t(len(model)), options))
        finally:
            self.release(RELEASE_SESSION_OPTIONS, options)

    def tensor(self, array):
        dims = (c_int64 * max(1, array.ndim))(*array.shape)
        return self.made(CREATE_TENSOR_WITH_DATA, self.memory, c_void_p(array.ctypes.data), c_size_t(array.nbytes),
                         dims, c_size_t(array.ndim), c_int(NUMBERS[array.dtype]))

    def array(self, tensor):
        shape = self.made(GET_TENSOR_SHAPE, tensor)
        self.call(GET_ELEMENT_TYPE, shape, (kind_at := (c_int * 1)()))
        self.call(GET_DIMENSION_COUNT, shape, (rank_at := (c_size_t * 1)()))
        kind, rank = kind_at[0], rank_at[0]
        dims = (c_int64 * max(1, rank))()
        self.call(GET_DIMENSIONS, shape, dims, c_size_t(rank))
        self.release(RELEASE_SHAPE, shape)
        result = np.empty(tuple(dims[i] for i in range(rank)), DTYPES[kind])
        data = self.made(GET_TENSOR_DATA, tensor)
        ctypes.memmove(result.ctypes.data, data, result.nbytes)
        return result


class Session:
    def __init__(self, runtime, session):
        self.runtime, self.session = runtime, session

    def run(self, inputs, outputs):
        """Arrays by name in, the named outputs out."""
        runtime = self.runtime
        arrays = [np.require(array, requirements="C") for array in inputs.values()]
        given = [runtime.tensor(array) for array in arrays]
        results = (c_void_p * len(outputs))()
        try:
            runtime.call(RUN, self.session, c_void_p(None), (c_char_p * len(given))(*(n.encode() for n in inputs)),
                         (c_void_p * len(given))(*(v.value for v in given)), c_size_t(len(given)),
                         (c_char_p * len(outputs))(*(n.encode() for n in outputs)), c_size_t(len(outputs)), results)
            return [runtime.array(c_void_p(result)) for result in results]
        finally:
            for value in given + [c_void_p(result) for result in results if result]:
                runtime.release(RELEASE_VALUE, value)

    def close(self):
        self.runtime.release(RELEASE_SESSION, self.session)
