"""A network under construction: nodes as ONNX has them, and what each means in PyTorch.

    g = Graph(seed, differentiable=False)
    x = g.input((3, 4, 9, 7))
    y = g.add("Relu", [x], x.shape, lambda t: t.relu())

Shapes are those of a run with `g.batch` images. With a symbolic batch the first extent of every value is "N" in the file,
and no op may look at it.
"""
import numpy as np

import onnx_file


class Value:
    def __init__(self, name, shape, dtype="float32", scale=1.0, array=None, learnt=False):
        self.name, self.shape, self.dtype = name, tuple(int(extent) for extent in shape), dtype
        self.scale = scale  # about how large the elements are
        self.array = array  # of an initializer
        self.learnt = learnt  # an initializer that gradients go to
        self.users = 0
        self.is_coarse = False  # depends on rounding to whole numbers or signs: it may well be constant

    rank = property(lambda self: len(self.shape))
    size = property(lambda self: int(np.prod(self.shape)))


class Node:
    def __init__(self, op, inputs, outputs, attributes, torch):
        self.op, self.inputs, self.outputs, self.attributes, self.torch = op, inputs, outputs, attributes, torch


class Graph:
    def __init__(self, seed, differentiable=False):
        self.seed, self.differentiable = seed, differentiable
        self.random = np.random.RandomState(seed)
        self.opset = self.whole(7, 22)
        self.symbolic = self.chance(0.5)
        # A file of one image whose weights have a first extent of 1, too, would not say which of them is the batch.
        self.batch = self.whole(1 if self.symbolic or not differentiable else 2, 3)
        self.odd_names = self.chance(0.3) and not differentiable  # as TensorFlow's and PyTorch's exporters write them
        self.raw = self.chance(0.7)
        self.inputs, self.initializers, self.nodes, self.values, self.outputs = [], [], [], [], []
        self.count = 0

    # --- dice

    def whole(self, least, most):
        return int(self.random.randint(least, most + 1))

    def chance(self, probability):
        return bool(self.random.rand() < probability)

    def pick(self, items):
        return items[self.random.randint(len(items))]

    def real(self, least, most):
        return float(np.float32(self.random.uniform(least, most)))

    # --- parts

    def name(self, letter):
        self.count += 1
        if not self.odd_names:
            return f"{letter}{self.count}"
        form = self.pick(["{0}{1}", "model/{0}/Op_{1}:0", "{0}.{1}", "{1}", "onnx::{0}_{1}", "/{0}-{1}/out"])
        return form.format(letter, self.count)

    def input(self, shape):
        value = Value(self.name("x"), shape)
        self.inputs.append(value)
        self.values.append(value)
        return value

    def initializer(self, array, learnt=False, scale=1.0):
        """Now and then as a Constant node: both are common."""
        array = np.asarray(array)
        value = Value(self.name("w"), array.shape, array.dtype.name, scale, array, learnt)
        if not learnt and self.chance(0.3):
            self.nodes.append(Node("Constant", [], [value], {"value": array}, None))
        else:
            self.initializers.append(value)
        return value

    def weight(self, shape, scale=1.0, learnt=True, least=None):
        """Random numbers, around 0 or, with `least`, from there up to 1.5 more."""
        if least is None:
            array = self.random.uniform(-scale, scale, shape)
        else:
            array = least + self.random.uniform(0, 1.5, shape)
        return self.initializer(np.asarray(array, np.float32), learnt, scale)

    def integers(self, values):
        return self.initializer(np.asarray(values, np.int64))

    def scalar(self, value):
        return self.initializer(np.asarray(value, np.float32))

    def add(self, op, inputs, shape, torch=None, dtype="float32", scale=None, outputs=None, **attributes):
        """inputs: values, None for one that is left out. Several outputs: a list of shapes; torch then returns a tuple.
        `torch` gets a tensor for every input."""
        if scale is None:
            scale = inputs[0].scale if inputs else 1.0
        several = isinstance(shape, list) and len(shape) > 0 and isinstance(shape[0], tuple)
        shapes = shape if several else [shape]
        dtypes = dtype if isinstance(dtype, list) else [dtype] * len(shapes)
        made = [Value(self.name("t"), *item, scale) for item in zip(shapes, dtypes)]
        for value in made:
            value.is_coarse = op in ("Sign", "Floor", "Cast", "ArgMax") or any(v and v.is_coarse for v in inputs)
        for value in inputs:
            if value is not None:
                value.users += 1
        self.nodes.append(Node(op, inputs, made, {k: v for k, v in attributes.items() if v is not None}, torch))
        self.values += made
        return made if several else made[0]

    # --- as others see it

    def dims(self, value, batch=None):
        if self.symbolic and value.rank and value.array is None:
            return ("N" if batch is None else batch,) + value.shape[1:]
        return value.shape

    def model(self, learnt_inputs=False):
        """The file's bytes. `learnt_inputs`: learnt weights are given with each call, so that no reader merges them."""
        given = self.inputs + [v for v in self.initializers if v.learnt and learnt_inputs]
        kept = {v.name: v.array for v in self.initializers if not (v.learnt and learnt_inputs)}
        nodes = [(n.op, ["" if v is None else v.name for v in n.inputs], [v.name for v in n.outputs], n.attributes)
                 for n in self.nodes]
        return onnx_file.model("graph", self.opset, nodes, kept, [(v.name, v.dtype, self.dims(v)) for v in given],
                               [(v.name, v.dtype, self.dims(v)) for v in self.outputs], self.raw)

    def feeds(self, batch, number=0):
        """Inputs for a run: well spread, none tiny. `number`: others of them."""
        random = np.random.RandomState([self.seed, number])
        return {v.name: random.uniform(-1.5, 1.5, self.dims(v, batch)).astype(np.float32) for v in self.inputs}

    def torch(self, feeds, torch, learnt, dtype):
        """Every value by name, computed in `dtype`; `learnt`: tensors by name in place of those initializers."""

        def tensor(array):
            result = array if isinstance(array, torch.Tensor) else torch.tensor(array)
            return result.to(dtype) if result.is_floating_point() else result

        values = {v.name: tensor(learnt.get(v.name, v.array)) for v in self.initializers}
        values.update((name, tensor(array)) for name, array in feeds.items())
        for node in self.nodes:
            if node.op == "Constant":
                values[node.outputs[0].name] = tensor(node.attributes["value"])
                continue
            results = node.torch(*[None if v is None else values[v.name] for v in node.inputs])
            for value, result in zip(node.outputs, results if isinstance(results, tuple) else (results,)):
                values[value.name] = tensor(result)
        return values

    def __str__(self):
        lines = [f"graph of seed {self.seed}, opset {self.opset}, batch {'N' if self.symbolic else self.batch}"]
        told = lambda v: "_" if v is None else v.name
        typed = lambda v: f"{v.name}: {v.dtype}{list(self.dims(v))}"
        lines += [f"  input {typed(v)}" for v in self.inputs]
        for value in self.initializers:
            known = f" = {value.array.tolist()}" if value.size <= 8 else ""
            lines.append(f"  {'weight' if value.learnt else 'constant'} {typed(value)}{known}")
        for node in self.nodes:
            attributes = ", ".join(f"{k} = {v.tolist() if isinstance(v, np.ndarray) else v}"
                                   for k, v in node.attributes.items())
            lines.append(f"  {', '.join(map(typed, node.outputs))} = {node.op} {', '.join(map(told, node.inputs))}"
                         f"{' {' + attributes + '}' if attributes else ''}")
        lines.append(f"  output {', '.join(v.name for v in self.outputs)}")
        return "\n".join(lines)
