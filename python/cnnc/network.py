"""A compiled network with its parameters: forward, training step, gradients.

Any number of threads may call one network: calls of forward and gradients run at the same time, a call that changes
parameters or state runs alone.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import MutableMapping

import numpy as np

from .interface import (FORWARD, GRADIENTS, TRAIN, Error, Tensor, Threads, aligned_block, as_array, from_bfloat16,
                        stored)
from .library import Library


def load(path, *, weights=None, threads=1, seed=1):
    """The network in a compiled library.

    weights: a .safetensors file; without it the parameters inside the library, else first values from `seed`.
    threads: how many one call runs on.
    """
    network = Network(path, threads=threads, seed=seed)
    try:
        if weights is not None:
            network.load(weights)
    except BaseException:
        network.close()
        raise
    return network


class _Gate:
    """Readers together, a writer alone. A writer that waits goes before readers that come later."""

    def __init__(self):
        self._changed = threading.Condition()
        self._readers = 0
        self._writers = 0  # waiting ones, too
        self._writing = False

    @contextlib.contextmanager
    def shared(self):
        with self._changed:
            self._changed.wait_for(lambda: self._writers == 0)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self):
        with self._changed:
            self._writers += 1
            try:
                self._changed.wait_for(lambda: self._readers == 0 and not self._writing)
            except BaseException:  # Ctrl-C
                self._writers -= 1
                self._changed.notify_all()
                raise
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._writers -= 1
                self._changed.notify_all()


class _Values(MutableMapping):
    """Tensors of a block by name, in the standard layout. Reading copies out, assigning copies in."""

    def __init__(self, network, tensors, get, set):
        self._network, self._tensors, self._get, self._set = network, {t.name: t for t in tensors}, get, set

    def __getitem__(self, name):
        tensor = self._tensors[name]
        array = np.empty(tensor.shape, tensor.stored_dtype)
        self._get(name, array)
        return from_bfloat16(array) if tensor.dtype == "bfloat16" else array

    def __setitem__(self, name, value):
        tensor = self._tensors[name]
        array = stored(tensor, value, "set")
        if array.shape != tensor.shape:
            raise ValueError(f"{tensor} cannot be set to an array of shape {list(array.shape)}")
        self._set(name, array)

    def __delitem__(self, name):
        raise TypeError("the tensors of a network are fixed")

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def __repr__(self):
        return "{" + ", ".join(str(t) for t in self._tensors.values()) + "}"

    def tensor(self, name):
        return self._tensors[name]


class Network:
    """See load(). Usable in a `with` statement; close() gives the memory and the threads back."""

    def __init__(self, path, *, threads=1, seed=1):
        self._library = None
        self._gate = _Gate()
        self._workspaces, self._workspaces_lock = [], threading.Lock()
        self._threads = ctypes.POINTER(Threads)()
        library = Library(path)
        self._library, self._model = library, library.model
        model = self._model
        self.name = model.name.decode()
        self.path = library.path
        self.compiler, self.march, self.flags = (t.decode() for t in (model.compiler, model.march, model.flags))
        target = model.target()
        self.target = target and target.decode()  # of march: whose code runs here; None: this machine lacks what each needs
        self.source = (model.source or b"").decode(errors="replace")
        self.inputs, self.outputs, self.train_inputs = (
            [Tensor.of(tensors[i]) for i in range(count)]
            for tensors, count in (
                (model.inputs, model.input_count),
                (model.outputs, model.output_count),
                (model.train_inputs, model.train_input_count),
            )
        )
        self.thread_count = int(threads)
        try:
            if self.thread_count != 1:
                self._check(model.create_threads(self.thread_count, ctypes.byref(self._threads)), "start its threads")
            # Parameters inside the library are used where they are until somebody changes them.
            self._parameters = None
            if not model.embedded:
                self._parameters = aligned_block(model.parameter_bytes)
                self._check(model.init_parameters(self._parameters.ctypes.data, seed), "initialise its parameters")
            self._state = aligned_block(model.state_bytes) if self.can_train else None
            if self.can_train:
                self._check(model.init_state(self._state.ctypes.data, seed), "initialise its state")
        except BaseException:
            self.close()
            raise
        self.parameters = _Values(self, self._tensors(model.parameters, model.parameter_count), self._get_parameter,
                                  self._set_parameter)
        states = self._tensors(model.states, model.state_count) if self.can_train else []
        self.states = _Values(self, states, self._get_state, self._set_state)

    @staticmethod
    def _tensors(tensors, count):
        return [Tensor.of(tensors[i]) for i in range(count)]

    def __repr__(self):
        return f"<cnnc.Network {self.name}: {', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}>"

    # --- life

    def close(self):
        """Waits for calls that run. Arrays that were given out stay valid: they are the caller's."""
        if self._library is None:
            return
        with self._gate.alone():
            if self._library is None:
                return
            if self._threads:
                self._model.free_threads(self._threads)
            library, self._library, self._model = self._library, None, None
            self._workspaces = []
            library.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        with contextlib.suppress(Exception):  # the interpreter may be half gone
            self.close()

    def _open(self):
        if self._model is None:
            raise Error(f"the network {self.name} is closed")
        return self._model

    def _check(self, code, what):
        if code != 0:
            raise Error(f"{self.name}: cannot {what}: {self._model.error(code).decode()}", code)

    # --- calls

    @property
    def can_train(self):
        """Compiled with the training step."""
        return len(self.train_inputs) > 0

    def __call__(self, *arrays, **named):
        """forward; the array itself where the network has one output."""
        outputs = self.forward(*arrays, **named)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def forward(self, *arrays, out=None, **named):
        """Outputs by name. Inputs in their order or by name: NumPy arrays or whatever speaks DLPack, read where they are
        if element type and order fit. `out`: arrays by name, which then receive the outputs without a copy."""
        arrays, batch = self._bind(self.inputs, arrays, named)
        outputs, finish = self._outputs(out or {}, batch)
        with self._gate.shared():
            model = self._open()
            with self._workspace(batch, FORWARD) as workspace:
                self._check(
                    model.forward(self._parameter_block(), batch, _pointers(arrays), _pointers(outputs),
                                  workspace.ctypes.data, self._threads), "run forward")
        return finish()

    def train_step(self, *arrays, **named):
        """Forward, loss, backward and update; returns the mean loss of the batch."""
        self._wants_training()
        arrays, batch = self._bind(self.train_inputs, arrays, named)
        loss = ctypes.c_float()
        with self._gate.alone():
            model = self._open()
            with self._workspace(batch, TRAIN) as workspace:
                self._check(
                    model.train_step(self._own_parameters().ctypes.data, self._state.ctypes.data, batch,
                                     _pointers(arrays), ctypes.byref(loss), workspace.ctypes.data, self._threads),
                    "run a training step")
        return loss.value

    def gradients(self, *arrays, **named):
        """Mean loss, and its gradient for each parameter by name; nothing is updated."""
        self._wants_training()
        arrays, batch = self._bind(self.train_inputs, arrays, named)
        loss = ctypes.c_float()
        with self._gate.shared():
            model = self._open()
            block = aligned_block(model.parameter_bytes)
            with self._workspace(batch, GRADIENTS) as workspace:
                self._check(
                    model.gradients(self._parameter_block(), self._state.ctypes.data, batch, _pointers(arrays),
                                    ctypes.byref(loss), block.ctypes.data, workspace.ctypes.data, self._threads),
                    "run gradients")
            gradients = {}
            for name in self.parameters:
                array = np.empty(self.parameters.tensor(name).shape, self.parameters.tensor(name).stored_dtype)
                self._check(model.get_parameter(block.ctypes.data, name.encode(), array.ctypes.data, array.size),
                            f"read the gradient of '{name}'")
                gradients[name] = from_bfloat16(array) if array.dtype == np.uint16 else array
        return loss.value, gradients

    # --- parameters and state

    def init(self, seed=1):
        """First values for parameters (those that the library knows, from there) and state."""
        with self._gate.alone():
            model = self._open()
            self._check(model.init_parameters(self._own_parameters().ctypes.data, seed), "initialise its parameters")
            if self.can_train:
                self._check(model.init_state(self._state.ctypes.data, seed), "initialise its state")

    def load(self, path):
        """Every parameter from a .safetensors file, by name."""
        with self._gate.alone():
            model = self._open()
            self._check(model.load_parameters(self._own_parameters().ctypes.data, os.fsencode(path)), f"load {path}")

    def save(self, path):
        """All parameters to a .safetensors file: written aside, then renamed."""
        with self._gate.shared():
            self._check(self._open().save_parameters(self._parameter_block(), os.fsencode(path)), f"save {path}")

    @property
    def learning_rate(self):
        return float(self.states["learning_rate"])

    @learning_rate.setter
    def learning_rate(self, rate):
        self.states["learning_rate"] = np.float32(rate)

    def _parameter_block(self):
        return self._model.embedded if self._parameters is None else self._parameters.ctypes.data

    def _own_parameters(self):
        if self._parameters is None:
            block = aligned_block(self._model.parameter_bytes)
            ctypes.memmove(block.ctypes.data, self._model.embedded, block.size)
            self._parameters = block
        return self._parameters

    def _get_parameter(self, name, array):
        with self._gate.shared():
            self._check(self._open().get_parameter(self._parameter_block(), name.encode(), array.ctypes.data, array.size),
                        f"read '{name}'")

    def _set_parameter(self, name, array):
        with self._gate.alone():
            model = self._open()
            self._check(model.set_parameter(self._own_parameters().ctypes.data, name.encode(), array.ctypes.data,
                                            array.size), f"set '{name}'")

    def _get_state(self, name, array):
        with self._gate.shared():
            self._check(self._open().get_state(self._state.ctypes.data, name.encode(), array.ctypes.data, array.size),
                        f"read '{name}'")

    def _set_state(self, name, array):
        with self._gate.alone():
            self._check(self._open().set_state(self._state.ctypes.data, name.encode(), array.ctypes.data, array.size),
                        f"set '{name}'")

    # --- arguments

    def _wants_training(self):
        self._open()
        if not self.can_train:
            raise Error(f"{self.name} was compiled without the training step: cnnc net.yaml --train")

    def _bind(self, tensors, arrays, named):
        """Arrays in the descriptor's order, and the batch that all of them agree on."""
        self._open()
        names = [t.name for t in tensors]
        if len(arrays) > len(tensors):
            raise TypeError(f"{self.name} takes {len(tensors)} inputs ({', '.join(names)}), not {len(arrays)}")
        values = dict(zip(names, arrays))
        for name, value in named.items():
            if name not in names or name in values:
                problem = "is given twice" if name in values else f"is not one of {', '.join(names)}"
                raise TypeError(f"{self.name}: the input '{name}' {problem}")
            values[name] = value
        missing = [name for name in names if name not in values]
        if missing:
            raise TypeError(f"{self.name}: missing inputs: {', '.join(missing)}")
        bound = [stored(t, values[t.name], self.name) for t in tensors]
        batch = None
        for tensor, array in zip(tensors, bound):
            fits = len(array.shape) == len(tensor.shape)
            for extent, wanted in zip(array.shape, tensor.shape):
                if wanted >= 0:
                    fits = fits and extent == wanted
                elif batch is None and extent > 0 and extent % -wanted == 0:
                    batch = extent // -wanted
                else:
                    fits = fits and extent == -wanted * (batch or 0) and extent > 0
            if not fits:
                n = f", with n = {batch}" if batch else ""
                raise ValueError(f"{self.name}: {tensor} gets an array of shape {list(array.shape)}{n}")
        return bound, batch or 1

    def _outputs(self, given, batch):
        """Memory for the outputs, and what makes them the caller's arrays."""
        names = [t.name for t in self.outputs]
        unknown = [name for name in given if name not in names]
        if unknown:
            raise TypeError(f"{self.name}: no output '{unknown[0]}' (outputs: {', '.join(names)})")
        memory = []
        for tensor in self.outputs:
            shape = tensor.shape_for(batch)
            if tensor.name not in given:
                memory.append(np.empty(shape, tensor.stored_dtype))
                continue
            array = as_array(given[tensor.name])
            # DLPack says nothing about writing; an array of NumPy does.
            writable = array.flags.writeable or array is not given[tensor.name]
            if (array.shape != shape or array.dtype != tensor.stored_dtype or not writable
                    or not array.flags.c_contiguous or not array.flags.aligned):
                raise ValueError(f"{self.name}: out['{tensor.name}'] must be a writable, contiguous array of "
                                 f"{tensor.stored_dtype}{list(shape)}")
            memory.append(array)

        def finish():
            result = {}
            for tensor, array in zip(self.outputs, memory):
                if tensor.name in given:
                    result[tensor.name] = given[tensor.name]
                else:
                    result[tensor.name] = from_bfloat16(array) if tensor.dtype == "bfloat16" else array
            return result

        return memory, finish

    @contextlib.contextmanager
    def _workspace(self, batch, mode):
        """A block that no other call uses meanwhile; kept for the next one."""
        bytes = self._model.workspace_bytes(batch, self.thread_count, mode)
        if bytes < 0:
            self._check(-bytes, f"run a batch of {batch}")
        with self._workspaces_lock:
            block = self._workspaces.pop() if self._workspaces else None
        if block is None or block.size < bytes:
            block = aligned_block(bytes)
        try:
            yield block
        finally:
            with self._workspaces_lock:
                self._workspaces.append(block)


def _pointers(arrays):
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
