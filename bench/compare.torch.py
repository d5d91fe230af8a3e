"""Forward of a compiled network against PyTorch, in turns, on the same weights and inputs.

    compare.torch.py net.so net.graph BATCH THREADS SECONDS TOLERANCE

net.graph: what `cnnc net.yaml --emit=graph` says, which is built here from PyTorch's functions; a network with an op
that is not in OPS is refused. Prints one JSON object, with the fastest of PyTorch's modes. The compiled network is called
through ctypes, whose cost is in its time.
"""
import ctypes
import itertools
import json
import os
import re
import statistics
import sys
import time

import numpy
import torch
from torch.nn import functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python"))
from cnnc.interface import FORWARD, Threads, aligned_block  # noqa: E402
from cnnc.library import Library  # noqa: E402

TURN = 0.05  # seconds


def symmetric(padding):
    top, left, bottom, right = padding
    if (top, left) != (bottom, right):
        raise NotImplementedError(f"padding {padding}")
    return [top, left]


def conv2d(x, weight, bias, a):
    return F.conv2d(x, weight, bias, a.get("stride", 1), symmetric(a.get("padding", [0] * 4)), a.get("dilation", 1),
                    a.get("groups", 1))


def max_pool2d(x, a):
    return F.max_pool2d(x, a["kernel"], a.get("stride", a["kernel"]),
                        symmetric(a.get("padding", [0] * 4)), ceil_mode=a.get("ceil_mode", False))


OPS = {
    "conv2d": conv2d,
    "max_pool2d": max_pool2d,
    "dense": lambda x, weight, bias, a: F.linear(x, weight, bias),
    "batch_norm": lambda x, weight, bias, mean, var, a: F.batch_norm(x, mean, var, weight, bias, False, 0.0,
                                                                     a.get("epsilon", 1e-5)),
    "lrn": lambda x, a: F.local_response_norm(x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75),
                                              a.get("bias", 1.0)),
    "relu": lambda x, a: F.relu(x),
    "relu6": lambda x, a: F.relu6(x),
    "add": lambda x, y, a: x + y,
    "concat": lambda *x: torch.cat(x[:-1], x[-1].get("axis", 1)),
    "global_avg_pool": lambda x, a: F.adaptive_avg_pool2d(x, 1),
    "flatten": lambda x, a: torch.flatten(x, 1),
    "softmax": lambda x, a: F.softmax(x, 1),
}


class Net(torch.nn.Module):
    def __init__(self, text, parameters):
        super().__init__()
        text = text.split("\nnet ")[0]  # the first is forward
        self.input = re.search(r"net @\w+\(%(\w+)", text).group(1)
        self.output = re.search(r"^  output %(\S+)$", text, re.M).group(1)
        self.steps = []
        for result, op, operands, attributes in re.findall(
                r"^  %(\S+) = (\w+) ([^{:]*?)(?: \{(.*?)\})? : ", text, re.M):
            if op not in OPS:
                raise NotImplementedError(f"the op {op}")
            pairs = re.findall(r"(\w+) = (\[[^\]]*\]|[^,]+)", attributes)
            self.steps.append((result, op, operands.split(", "), {key: json.loads(value) for key, value in pairs}))
        self.names = {}
        for name, value in parameters.items():
            self.names[name] = "p" + str(len(self.names))
            self.register_parameter(self.names[name], torch.nn.Parameter(torch.from_numpy(value), False))

    def forward(self, x):
        values = {self.input: x}
        for result, op, operands, attributes in self.steps:
            arguments = [None if name == "_" else getattr(self, self.names[name[1:]]) if name[0] == "@"
                         else values[name[1:]] for name in operands]
            values[result] = OPS[op](*arguments, attributes)
        return values[self.output]


class Compiled:
    """Sizes and pointers are made once, so that a call is a call."""

    def __init__(self, path, batch, threads):
        self.library = Library(path)
        self.model = model = self.library.model
        self.batch = batch
        if model.input_count != 1 or model.output_count != 1:
            raise NotImplementedError("several inputs or outputs")
        self.workspace = aligned_block(model.workspace_bytes(batch, threads, FORWARD))
        self.threads = ctypes.POINTER(Threads)()
        if threads > 1:
            self.check(model.create_threads(threads, ctypes.byref(self.threads)))
        shapes = [[-d * batch if d < 0 else d for d in tensor.dims[:tensor.rank]]
                  for tensor in (model.inputs[0], model.outputs[0])]
        self.image = numpy.random.default_rng(1).uniform(-2, 2, shapes[0]).astype(numpy.float32)
        self.result = numpy.empty(shapes[1], numpy.float32)
        pointers = [(ctypes.c_void_p * 1)(array.ctypes.data) for array in (self.image, self.result)]
        self.forward = model.forward
        self.arguments = (ctypes.c_void_p(model.embedded), ctypes.c_int64(batch), *pointers,
                          ctypes.c_void_p(self.workspace.ctypes.data), self.threads)

    def check(self, code):
        if code:
            sys.exit(self.model.error(code).decode())

    def parameters(self):
        values = {}
        for tensor in self.model.parameters[:self.model.parameter_count]:
            values[tensor.name.decode()] = value = numpy.empty(tensor.dims[:tensor.rank], numpy.float32)
            self.check(self.model.get_parameter(self.model.embedded, tensor.name, value.ctypes.data, value.size))
        return values

    def __call__(self):
        self.check(self.forward(*self.arguments))


def modes(net, image):
    """[(what, a call)]: as it is, as a graph, and as a graph with layers folded and brought to oneDNN's layouts."""
    for form, layout in itertools.product(("eager", "frozen", "optimized"), ("", "channels_last")):
        module, x = net, torch.from_numpy(image)
        if layout:
            module = module.to(memory_format=torch.channels_last)
            x = x.to(memory_format=torch.channels_last)
        else:
            module = module.to(memory_format=torch.contiguous_format)
        if form != "eager":
            module = torch.jit.freeze(torch.jit.trace(module, x, check_trace=False))
        if form == "optimized":
            module = torch.jit.optimize_for_inference(module)
        yield ", ".join(filter(None, [form, layout])), lambda module=module, x=x: module(x)


def turn(side, times, threads):
    if threads > 1:
        time.sleep(0.05)  # the other side's threads may spin for a while behind their last call
    side()
    begin = time.perf_counter()
    now = begin
    while not times or now - begin < TURN:
        side()
        times.append((end := time.perf_counter()) - now)
        now = end


def main():
    path, graph = sys.argv[1:3]
    batch, threads = map(int, sys.argv[3:5])
    seconds, tolerance = map(float, sys.argv[5:7])
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    ours = Compiled(path, batch, threads)
    with open(graph, encoding="utf-8") as file:
        net = Net(file.read(), ours.parameters()).eval()
    ours()
    best, differs = None, 0.0
    for mode, peer in modes(net, ours.image):
        result = [peer() for _ in range(3)][-1].numpy()  # its optimizer looks at the first two calls
        differs = max(differs, float(abs(result - ours.result).max() / abs(result).max()))
        if not differs <= tolerance:
            sys.exit(f"{mode}: the outputs differ by {differs:.2g} of the largest: the times are worth nothing")
        turn(peer, trial := [], threads)
        if best is None or statistics.median(trial) < best[0]:
            best = (statistics.median(trial), mode, peer)
    _, mode, peer = best
    our_times, peer_times = [], []
    begin, rounds = time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - begin < seconds:
        rounds += 1
        for side, times in ((ours, our_times), (peer, peer_times)):
            turn(side, new := [], threads)
            times += new
    mine, theirs = (statistics.median(times) * 1e3 for times in (our_times, peer_times))
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        blas = "OpenBLAS" if "openblas" in maps.read() else "unknown BLAS"
    print(json.dumps({"network": ours.model.name.decode(), "batch": batch, "threads": threads,
                      "peer": f"PyTorch {torch.__version__} with {blas}", "ours_ms": float(f"{mine:.5g}"),
                      "peer_ms": float(f"{theirs:.5g}"), "ratio": float(f"{theirs / mine:.4g}"),
                      "deviation": float(f"{differs:.2g}"), "peer_mode": mode,
                      "calls": [len(our_times), len(peer_times)]}))


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as refused:
        sys.exit(f"not built in PyTorch: {refused}")
