"""Networks compiled by cnnc, from Python. Nothing to build: ctypes and NumPy.

    import cnnc
    net = cnnc.load("lenet5.so")                       # or cnnc.compile("lenet5.yaml", train=True)
    scores = net(images)                               # NumPy, or whatever speaks DLPack
    loss = net.train_step(image=images, label=labels)
    net.parameters["conv1.weight"] *= 0.5
    net.save("lenet5.safetensors")
"""

from .compiler import CompileError, compile, find_program
from .interface import Error, Tensor
from .network import Network, load

__all__ = ["CompileError", "Error", "Network", "Tensor", "compile", "find_program", "load"]
