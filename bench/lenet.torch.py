"""LeNet-5's training step on one thread: a compiled lenet5.so against PyTorch, in turns, from the same weights.

    lenet.torch.py lenet5.so [batch]

Prints one JSON object for each of PyTorch's modes. Both sides take the same steps on the same pictures, start again
from the same weights before every turn, and must report the same losses. The peer's name tells which BLAS it found:
Debian's PyTorch takes any libblas.so.3, and with the reference one a dense layer costs some 25 times more.
"""
import ctypes
import json
import statistics
import sys
import time

import numpy
import torch
from torch import nn

TURNS, STEPS = 20, 10
LEARNING_RATE = 0.05


class Network:
    """The compiled network through its C interface. Sizes come from the functions, so that no struct is mirrored."""

    def __init__(self, path, batch):
        self.library = ctypes.CDLL(path)
        self.library.lenet5_workspace_bytes.argtypes = [ctypes.c_int64, ctypes.c_int, ctypes.c_int]
        self.library.lenet5_workspace_bytes.restype = ctypes.c_int64
        self.batch = ctypes.c_int64(batch)
        self.parameters, self.state = self.block(1 << 20), self.block(1 << 20)
        train = 1
        self.workspace = self.block(self.library.lenet5_workspace_bytes(batch, 1, train))
        self.check(self.library.lenet5_init_parameters(self.parameters, ctypes.c_uint64(1)))
        self.check(self.library.lenet5_init_state(self.state, ctypes.c_uint64(1)))
        self.first = [bytes(self.parameters._object), bytes(self.state._object)]
        self.loss = ctypes.c_float()

    @staticmethod
    def block(size):
        memory = (ctypes.c_char * (size + 64))()
        address = (ctypes.addressof(memory) + 63) // 64 * 64
        pointer = ctypes.c_void_p(address)
        pointer._object = (ctypes.c_char * size).from_address(address)
        pointer._memory = memory
        return pointer

    def check(self, code):
        if code:
            self.library.lenet5_error.restype = ctypes.c_char_p
            sys.exit(f"lenet5: {self.library.lenet5_error(code).decode()}")

    def values(self, name, shape):
        out = numpy.empty(shape, numpy.float32)
        self.check(self.library.lenet5_get_parameter(self.parameters, name.encode(), ctypes.c_void_p(out.ctypes.data),
                                                     ctypes.c_int64(out.size)))
        return out

    def start(self):
        for pointer, first in zip((self.parameters, self.state), self.first):
            ctypes.memmove(pointer, first, len(first))

    def prepare(self, image, label):
        self.image, self.label = image, label
        self.arguments = (self.parameters, self.state, self.batch, ctypes.c_void_p(image.ctypes.data),
                          ctypes.c_void_p(label.ctypes.data), ctypes.byref(self.loss), self.workspace, None)

    def step(self):
        self.check(self.library.lenet5_train_step(*self.arguments))
        return self.loss.value


class Torch:
    def __init__(self, weights, image, label, channels_last, to_none, foreach):
        self.net = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
        self.image, self.label = torch.from_numpy(image), torch.from_numpy(label).long()
        if channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.image = self.image.to(memory_format=torch.channels_last)
        self.weights, self.to_none = weights, to_none
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=5e-4,
                                         foreach=foreach)
        self.criterion = nn.CrossEntropyLoss()

    def start(self):
        with torch.no_grad():
            for parameter, first in zip(self.net.parameters(), self.weights):
                parameter.copy_(torch.from_numpy(first))
            for state in self.optimizer.state.values():
                state["momentum_buffer"].zero_()  # the next step makes it 0.9 * 0 + gradient: what a first step makes

    def step(self):
        self.optimizer.zero_grad(set_to_none=self.to_none)
        loss = self.criterion(self.net(self.image), self.label)
        loss.backward()
        self.optimizer.step()
        return loss  # its number is read outside of the timed step


def turn(side, times):
    losses = []
    side.start()
    for _ in range(STEPS):
        begin = time.perf_counter()
        loss = side.step()
        times.append((time.perf_counter() - begin) * 1e3)
        losses.append(float(loss))
    return losses


def main():
    path, batch = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 64
    torch.set_num_threads(1)
    random = numpy.random.default_rng(1)
    image = random.random((batch, 1, 28, 28), numpy.float32)
    label = random.integers(0, 10, batch, numpy.int32)
    ours = Network(path, batch)
    ours.prepare(image, label)
    shapes = {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5),
              "dense1": (120, 400), "dense2": (84, 120), "logits": (10, 84)}
    weights = []
    for name, shape in shapes.items():
        weights += [ours.values(name + ".weight", shape), ours.values(name + ".bias", shape[:1])]
    modes = [dict(channels_last=c, to_none=n, foreach=f)
             for c in (False, True) for n in (False, True) for f in (False, True)]
    peers = [Torch(weights, image, label, **mode) for mode in modes]
    our_times, peer_times = [], [[] for _ in peers]
    for number in range(TURNS + 1):  # the first turn warms up
        if number == 1:
            our_times.clear()
            for times in peer_times:
                times.clear()
        expected = turn(ours, our_times)
        for mode, peer, times in zip(modes, peers, peer_times):
            for step, (a, b) in enumerate(zip(expected, turn(peer, times))):
                if not abs(a - b) <= 1e-4 * abs(b):
                    sys.exit(f"{mode}: the loss of step {step} is {a} here and {b} there")
    mine = statistics.median(our_times)
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        blas = "OpenBLAS" if "openblas" in maps.read() else "unknown BLAS"
    for mode, times in zip(modes, peer_times):
        peer = statistics.median(times)
        print(json.dumps({"what": "lenet5 training step", "peer": f"PyTorch {torch.__version__} with {blas}",
                          "ours_ms": round(mine, 5), "peer_ms": round(peer, 5), "ratio": round(peer / mine, 3),
                          "threads": 1, "batch": batch, "mode": ", ".join(k for k, v in mode.items() if v) or "plain"}))


if __name__ == "__main__":
    main()
