"""Writes ONNX models without any library: protobuf's wire format, as far as a graph needs it.

A message is a sequence of fields; a key is field << 3 | type, type 0 a varint, type 2 a length and that many bytes, type 5
four bytes (https://protobuf.dev/programming-guides/encoding). Fields by number from onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""
import struct

import numpy as np

NUMBER_OF = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float64": 11}


def varint(value):
    value &= (1 << 64) - 1  # negative numbers are their 64 bits
    text = bytearray()
    while value >= 128:
        text.append(value & 127 | 128)
        value >>= 7
    text.append(value)
    return bytes(text)


def number(field, value):
    return varint(field << 3) + varint(int(value))


def text(field, value):
    value = value.encode() if isinstance(value, str) else bytes(value)
    return varint(field << 3 | 2) + varint(len(value)) + value


def real(field, value):
    return varint(field << 3 | 5) + struct.pack("<f", value)


def tensor(name, array, raw=True):
    """`raw` or in the typed field of its element type, packed: both are common."""
    body = b"".join(number(1, dim) for dim in array.shape) + number(2, NUMBER_OF[array.dtype.name])
    if raw or array.dtype.name not in ("float32", "int64"):
        body += text(9, np.ascontiguousarray(array).tobytes())
    elif array.dtype.name == "float32":
        body += text(4, array.tobytes())
    else:
        body += text(7, b"".join(varint(int(value)) for value in array.ravel()))
    return text(8, name) + body


def attribute(name, value):
    if isinstance(value, np.ndarray):
        return text(1, name) + number(20, 4) + text(5, tensor("", value))
    if isinstance(value, str):
        return text(1, name) + number(20, 3) + text(4, value)
    if isinstance(value, float):
        return text(1, name) + number(20, 1) + real(2, value)
    if isinstance(value, int):
        return text(1, name) + number(20, 2) + number(3, value)
    if value and isinstance(value[0], float):
        return text(1, name) + number(20, 6) + b"".join(real(7, item) for item in value)
    return text(1, name) + number(20, 7) + b"".join(number(8, item) for item in value)


def node(op, inputs, outputs, attributes):
    return (b"".join(text(1, name) for name in inputs) + b"".join(text(2, name) for name in outputs) + text(4, op) +
            b"".join(text(5, attribute(*item)) for item in attributes.items()))


def value_info(name, dtype, dims):
    """A dimension is a number, or a name such as "N"."""
    shape = b"".join(text(1, text(2, dim) if isinstance(dim, str) else number(1, dim)) for dim in dims)
    return text(1, name) + text(2, text(1, number(1, NUMBER_OF[dtype]) + text(2, shape)))


def ir_version(opset):
    return 3 if opset < 9 else 4 if opset < 10 else 5 if opset < 11 else 6 if opset < 12 else \
        7 if opset < 15 else 8 if opset < 19 else 9 if opset < 21 else 10


def model(name, opset, nodes, initializers, inputs, outputs, raw=True):
    """nodes: (op, inputs, outputs, attributes); initializers: name => array; inputs, outputs: (name, dtype, dims)."""
    graph = b"".join(text(1, node(*item)) for item in nodes) + text(2, name)
    graph += b"".join(text(5, tensor(*item, raw)) for item in initializers.items())
    if ir_version(opset) < 4:  # there, a value that a file gives is a graph's input, too
        inputs = inputs + [(key, array.dtype.name, array.shape) for key, array in initializers.items()]
    graph += b"".join(text(11, value_info(*item)) for item in inputs)
    graph += b"".join(text(12, value_info(*item)) for item in outputs)
    return number(1, ir_version(opset)) + text(7, graph) + text(8, text(1, "") + number(2, opset))
