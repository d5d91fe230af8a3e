"""One function an op: draws its attributes, adds it to a graph on a given value, and says what it means in PyTorch.

A function raises Skip where the op does not fit the value. Its decorator says how often it is drawn, in which opsets it
exists, on which ranks, and whether gradients may pass through it (`smooth`). Operands of what has poles are moved away from
them first, so that both sides can be held against each other closely.
"""
import importlib
import itertools
import math
import sys

import numpy as np

LARGEST = 6000  # elements


class Skip(Exception):
    pass


class _Torch:
    """torch.a.b, imported where a network is first run in PyTorch: drawing one only names what it will call."""

    def __init__(self, path=()):
        self._path = path

    def __getattr__(self, name):
        if "torch" in sys.modules:
            return getattr(self._found(), name)
        return _Torch((*self._path, name))

    def __call__(self, *values, **named):
        return self._found()(*values, **named)

    def _found(self):
        found = importlib.import_module("torch")
        for name in self._path:
            found = getattr(found, name)
        return found


torch = _Torch()
TABLE = []


def draw(weight=1.0, since=7, until=99, ranks=range(1, 7), smooth=True):
    def add(function):
        TABLE.append((function, weight, since, until, set(ranks), smooth))
        return function
    return add


def need(condition):
    if not condition:
        raise Skip


def fits(shape):
    need(int(np.prod(shape)) <= LARGEST and all(extent > 0 for extent in shape))
    return tuple(shape)


def first_axis(g):
    """The batch is nobody's to change where it has no number."""
    return 1 if g.symbolic else 0


def some_axis(g, x):
    need(x.rank > first_axis(g))
    return g.whole(first_axis(g), x.rank - 1)


def told_axis(g, axis, rank, since=11):
    return axis - rank if g.opset >= since and g.chance(0.4) else axis


def positive(g, x, least=0.3):
    """A value that stays away from zero."""
    return g.add("Add", [g.add("Abs", [x], x.shape, lambda t: t.abs()), g.scalar(least)], x.shape,
                 lambda t, c: t + c)


def tame(g, x):
    """Small numbers from a value that may have grown."""
    return x if x.scale <= 3 else g.add("Tanh", [x], x.shape, lambda t: t.tanh(), scale=1.0)


# --- windows


def pad_spatial(t, begin, end, value=0.0):
    pads = [p for pair in reversed(list(zip(begin, end))) for p in pair]
    return torch.nn.functional.pad(t, pads, value=value)


class Window:
    """Kernel, stride, dilation and padding of each spatial axis, and the output's extents."""

    def __init__(self, g, extents, largest=4, dilates=True, pads_below_kernel=False, ceil=False):
        rank = len(extents)
        self.g, self.ceil = g, ceil
        square = g.chance(0.5)
        some = lambda least, most: [g.whole(least, most)] * rank if square else [g.whole(least, most) for _ in extents]
        self.kernel = some(1, largest)
        self.stride = [1] * rank if g.chance(0.5) else some(1, 3)
        self.dilation = some(1, 3) if dilates and g.chance(0.3) else [1] * rank
        if ceil:  # ONNX's own shape inference does not drop windows that a larger stride puts behind the end
            self.stride = [min(pair) for pair in zip(self.stride, self.kernel)]
        self.begin, self.end = [0] * rank, [0] * rank
        self.auto = g.pick(["SAME_UPPER", "SAME_LOWER", "VALID"]) if not ceil and g.chance(0.15) else None
        if self.auto and self.auto != "VALID":
            self.dilation = [1] * rank
            self.stride = [min(pair) for pair in zip(self.stride, self.kernel)]
            for i, extent in enumerate(extents):
                total = max(0, (-(-extent // self.stride[i]) - 1) * self.stride[i] + self.kernel[i] - extent)
                small = total // 2
                self.begin[i], self.end[i] = (small, total - small) if self.auto == "SAME_UPPER" else (total - small, small)
        elif not self.auto and g.chance(0.65):
            most = [min(2, k - 1) if pads_below_kernel else 2 for k in self.kernel]
            self.begin = [g.whole(0, m) for m in most]
            self.end = list(self.begin) if g.chance(0.5) else [g.whole(0, m) for m in most]
        self.out = [self.extent(i, extents[i]) for i in range(rank)]

    def extent(self, i, extent):
        span = extent + self.begin[i] + self.end[i] - self.dilation[i] * (self.kernel[i] - 1) - 1
        need(span >= 0)
        out = (-(-span // self.stride[i]) if self.ceil else span // self.stride[i]) + 1
        if self.ceil and (out - 1) * self.stride[i] >= extent + self.begin[i]:
            out -= 1  # no window starts behind the end
        return out

    def taps(self, i):
        """[out][kernel] positions in the input."""
        return np.arange(self.out[i])[:, None] * self.stride[i] + np.arange(self.kernel[i]) * self.dilation[i] - self.begin[i]

    def sees_all(self, extents):
        """Every window has a tap inside."""
        return all(((self.taps(i) >= 0) & (self.taps(i) < extents[i])).any(1).all() for i in range(len(extents)))

    def attributes(self, kernel=True):
        said = lambda values, default: None if values == default and self.g.chance(0.5) else values
        ones = [1] * len(self.kernel)
        pads = None if self.auto else said(self.begin + self.end, [0] * 2 * len(ones))
        return dict(kernel_shape=self.kernel if kernel else None, strides=said(self.stride, ones),
                    dilations=None if self.dilation == ones else self.dilation, pads=pads, auto_pad=self.auto,
                    ceil_mode=1 if self.ceil else None)

    def taken(self, t, value=0.0):
        """[n, c, out..., taps of the window]"""
        last = [int(self.taps(i).max()) - t.shape[2 + i] + 1 for i in range(len(self.out))]
        t = pad_spatial(t, self.begin, [max(0, l) for l in last], value)
        for i in range(len(self.out)):
            at = torch.tensor((self.taps(i) + self.begin[i]).ravel())
            t = t.index_select(2 + 2 * i, at).unflatten(2 + 2 * i, (self.out[i], self.kernel[i]))
        rank = len(self.out)
        t = t.permute([0, 1] + [2 + 2 * i for i in range(rank)] + [3 + 2 * i for i in range(rank)])
        return t.flatten(2 + rank)

    def counts(self, extents, with_pads):
        """How many taps of each window an average counts."""
        result = np.ones(())
        for i, extent in enumerate(extents):
            low, high = (-self.begin[i], extent + self.end[i]) if with_pads else (0, extent)
            result = np.multiply.outer(result, ((self.taps(i) >= low) & (self.taps(i) < high)).sum(1))
        return torch.tensor(result)


def convolution(g, x, filters, groups, window, bias=True):
    need(x.rank >= 3)
    channels = x.shape[1]
    inside = channels // groups
    fan_in = inside * int(np.prod(window.kernel))
    weight = g.weight((filters, inside, *window.kernel), math.sqrt(3 / fan_in))
    inputs = [x, weight] + ([g.weight((filters,), 0.5)] if bias else [])

    def meaning(t, w, b=None):
        conv = getattr(torch.nn.functional, f"conv{x.rank - 2}d")
        return conv(pad_spatial(t, window.begin, window.end), w, b, window.stride, 0, window.dilation, groups)

    return g.add("Conv", inputs, fits((x.shape[0], filters, *window.out)), meaning, scale=x.scale + 0.5,
                 group=groups if groups != 1 or g.chance(0.3) else None, **window.attributes(g.chance(0.8)))


def divisors(number):
    return [d for d in range(1, number + 1) if number % d == 0]


@draw(7, ranks=(3, 4, 5))
def conv(g, x):
    groups = g.pick([1, 1, 1, x.shape[1], g.pick(divisors(x.shape[1]))])
    window = Window(g, x.shape[2:], 5 if x.rank < 5 else 3)
    convolution(g, x, groups * g.whole(1, 3 if groups > 1 else 9), groups, window, g.chance(0.7))


def unit_window(g, x, kernel=1):
    """A window that keeps the extents."""
    window = Window(g, x.shape[2:], 1)
    rank = x.rank - 2
    window.kernel, window.stride, window.dilation, window.auto = [kernel] * rank, [1] * rank, [1] * rank, None
    window.begin = window.end = [kernel // 2] * rank
    window.out = list(x.shape[2:])
    return window


@draw(1.5, ranks=(3, 4, 5))
def separable(g, x):
    y = convolution(g, x, x.shape[1], x.shape[1], unit_window(g, x, 3), g.chance(0.5))
    y = relu(g, norm(g, y) if g.chance(0.5) else y)
    convolution(g, y, g.whole(1, 8), 1, unit_window(g, x), g.chance(0.5))


@draw(2, ranks=(3, 4, 5))
def residual(g, x):
    y = convolution(g, x, g.whole(1, 6), 1, unit_window(g, x, 3), g.chance(0.5))
    y = relu(g, norm(g, y) if g.chance(0.7) else y)
    y = convolution(g, y, x.shape[1], 1, unit_window(g, x, g.pick([1, 3])), g.chance(0.5))
    y = norm(g, y) if g.chance(0.7) else y
    order = [x, y] if g.chance(0.5) else [y, x]
    y = g.add("Add", order, x.shape, lambda a, b: a + b, scale=x.scale + y.scale)
    if g.chance(0.7):
        relu(g, y)


@draw(1.5, ranks=(3, 4, 5))
def branches(g, x):
    parts = []
    for kernel in [1, 3, 5][:g.whole(2, 3)]:
        y = convolution(g, x, g.whole(1, 4), 1, unit_window(g, x, kernel), g.chance(0.5))
        parts.append(relu(g, y) if g.chance(0.7) else y)
    join(g, parts, 1)


@draw(1.5, ranks=(3, 4, 5))
def squeeze_excite(g, x):
    y = global_pool(g, x, "GlobalAveragePool")
    y = relu(g, convolution(g, y, g.whole(1, 4), 1, unit_window(g, y)))
    y = convolution(g, y, x.shape[1], 1, unit_window(g, y))
    y = g.add("Sigmoid", [y], y.shape, lambda t: t.sigmoid(), scale=1.0)
    g.add("Mul", [x, y], x.shape, lambda a, b: a * b)


@draw(2.5, ranks=(3, 4, 5))
def conv_transpose(g, x):
    rank, channels = x.rank - 2, x.shape[1]
    groups = g.pick([1, 1, channels, g.pick(divisors(channels))])
    filters = groups * g.whole(1, 3)
    some = lambda least, most: [g.whole(least, most) for _ in range(rank)]
    kernel, stride = some(1, 4), some(1, 3)
    dilation = some(1, 2) if g.chance(0.3) else [1] * rank
    begin, end = (some(0, 2), some(0, 2)) if g.chance(0.5) else ([0] * rank, [0] * rank)
    extra = [g.whole(0, s - 1) for s in stride] if g.chance(0.4) else [0] * rank
    whole = [s * (e - 1) + p + d * (k - 1) + 1
             for s, e, p, d, k in zip(stride, x.shape[2:], extra, dilation, kernel)]
    told = g.pick(["pads"] * 5 + ["output_shape", "SAME_UPPER", "SAME_LOWER"])
    if told != "pads":
        size = [max(1, w - g.whole(0, 3)) for w in whole] if told == "output_shape" else \
            [e * s for e, s in zip(x.shape[2:], stride)]
        total = [w - e for w, e in zip(whole, size)]
        need(min(total) >= 0 and not any(extra))
        begin = [t // 2 if told == "SAME_UPPER" else t - t // 2 for t in total]
        end = [t - b for t, b in zip(total, begin)]
    out = [w - b - e for w, b, e in zip(whole, begin, end)]
    need(min(out) > 0)
    weight = g.weight((channels, filters // groups, *kernel), math.sqrt(3 / (channels // groups * np.prod(kernel))))
    inputs = [x, weight] + ([g.weight((filters,), 0.5)] if g.chance(0.6) else [])

    def meaning(t, w, b=None):
        transposed = getattr(torch.nn.functional, f"conv_transpose{rank}d")
        t = transposed(t, w, b, stride, 0, extra, groups, dilation)
        return t[(slice(None), slice(None), *(slice(b, w - e) for b, w, e in zip(begin, whole, end)))]

    attributes = dict(strides=stride, pads=begin + end if told == "pads" and any(begin + end) else None,
                      auto_pad=told if told.startswith("SAME") else None,
                      output_shape=size if told == "output_shape" else None,
                      output_padding=extra if any(extra) else None, group=groups if groups > 1 else None,
                      dilations=dilation if max(dilation) > 1 else None)
    g.add("ConvTranspose", inputs, fits((x.shape[0], filters, *out)), meaning, scale=x.scale + 0.5,
          kernel_shape=kernel if g.chance(0.7) else None, **attributes)


def pool_window(g, x, op):
    ceil_since = {"MaxPool": 10, "AveragePool": 10, "LpPool": 18}[op]
    dilates_since = {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op]
    window = Window(g, x.shape[2:], 3, g.opset >= dilates_since, True, g.opset >= ceil_since and g.chance(0.4))
    need(max(window.kernel) > 1 and window.sees_all(x.shape[2:]))
    return window


@draw(3, ranks=(3, 4, 5))
def max_pool(g, x):
    window = pool_window(g, x, "MaxPool")
    g.add("MaxPool", [x], fits((*x.shape[:2], *window.out)), lambda t: window.taken(t, -math.inf).max(-1).values,
          **window.attributes())


@draw(0.5, since=8, ranks=(3, 4, 5), smooth=False)
def max_pool_and_tap(g, x):
    window = pool_window(g, x, "MaxPool")
    shape = fits((*x.shape[:2], *window.out))
    g.add("MaxPool", [x], [shape, shape], None, dtype=["float32", "int64"], **window.attributes())


@draw(0.5, since=9, ranks=(4,), smooth=False)
def max_unpool(g, x):
    """What a pool took goes back to its place."""
    kernel = [g.whole(1, 3), g.whole(2, 3)]
    need(all(e % k == 0 for e, k in zip(x.shape[2:], kernel)))
    shape = (*x.shape[:2], *(e // k for e, k in zip(x.shape[2:], kernel)))
    y, place = g.add("MaxPool", [x], [shape, shape], None, dtype=["float32", "int64"], kernel_shape=kernel, strides=kernel)
    y = g.add("Sigmoid", [y], shape, None, scale=1.0) if g.chance(0.5) else y
    g.add("MaxUnpool", [y, place], x.shape, None, kernel_shape=kernel, strides=kernel)


@draw(3, ranks=(3, 4, 5))
def average_pool(g, x):
    window = pool_window(g, x, "AveragePool")
    with_pads = g.chance(0.4)
    g.add("AveragePool", [x], fits((*x.shape[:2], *window.out)),
          lambda t: window.taken(t).sum(-1) / window.counts(x.shape[2:], with_pads).to(t.dtype),
          count_include_pad=1 if with_pads else None, **window.attributes())


@draw(1, since=7, ranks=(3, 4, 5))
def lp_pool(g, x):
    x = positive(g, x) if g.differentiable else x
    window, p = pool_window(g, x, "LpPool"), g.pick([1, 2, 3])
    g.add("LpPool", [x], fits((*x.shape[:2], *window.out)),
          lambda t: (window.taken(t).abs()**p).sum(-1)**(1 / p), scale=x.scale * 4, p=p, **window.attributes())


def global_pool(g, x, op):
    axes = list(range(2, x.rank))
    p = g.pick([1, 2, 3])
    meaning = {"GlobalAveragePool": lambda t: t.mean(axes, keepdim=True), "GlobalMaxPool": lambda t: t.amax(axes, True),
               "GlobalLpPool": lambda t: (t.abs()**p).sum(axes, keepdim=True)**(1 / p)}[op]
    return g.add(op, [x], (*x.shape[:2], *[1] * (x.rank - 2)), meaning, p=p if op == "GlobalLpPool" else None,
                 scale=x.scale * (4 if op == "GlobalLpPool" else 1))


@draw(1.5, ranks=(3, 4, 5))
def any_global_pool(g, x):
    ops = ["GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool"]
    op = g.pick(ops + (["GlobalLpPool"] if g.opset < 22 else []))  # which ONNX Runtime 1.30 has up to 21
    global_pool(g, positive(g, x) if op == "GlobalLpPool" else x, op)


# --- normalisation


def norm(g, x):
    channels = x.shape[1]
    shape = [1, channels] + [1] * (x.rank - 2)
    epsilon = g.pick([None, 1e-3, 1e-5])
    parts = [g.weight((channels,), least=0.5), g.weight((channels,)), g.weight((channels,), learnt=False),
             g.weight((channels,), least=0.5, learnt=False)]

    def meaning(t, scale, bias, mean, variance):
        scale, bias, mean, variance = (p.reshape(shape) for p in (scale, bias, mean, variance))
        return (t - mean) / (variance + np.float32(epsilon or 1e-5)).sqrt() * scale + bias

    return g.add("BatchNormalization", [x, *parts], x.shape, meaning, scale=2 * x.scale + 1, epsilon=epsilon)


@draw(3, ranks=(2, 3, 4, 5))
def batch_norm(g, x):
    norm(g, x)


def standardized(t, axes, epsilon):
    t = t - t.mean(axes, keepdim=True)
    return t / ((t * t).mean(axes, keepdim=True) + epsilon).sqrt()


def varied(g, x):
    """Not constant: the deviation of such is all rounding."""
    return g.add("Add", [x, g.weight(x.shape[1:], 0.5)], x.shape, lambda t, w: t + w) if x.is_coarse else x


@draw(1, ranks=(3, 4, 5))
def instance_norm(g, x):
    need(np.prod(x.shape[2:]) >= 6)
    x = varied(g, x)
    axes, epsilon = list(range(2, x.rank)), g.pick([None, 1e-2, 1e-3])
    shape = [-1] + [1] * (x.rank - 2)
    g.add("InstanceNormalization", [x, g.weight((x.shape[1],), least=0.5), g.weight((x.shape[1],))], x.shape,
          lambda t, s, b: standardized(t, axes, np.float32(epsilon or 1e-5)) * s.reshape(shape) + b.reshape(shape),
          scale=2.0, epsilon=epsilon)


@draw(1, since=17, ranks=(2, 3, 4))
def layer_norm(g, x):
    axis = g.whole(1, x.rank - 1)
    need(np.prod(x.shape[axis:]) >= 4)
    x = varied(g, x)
    epsilon = g.pick([None, 1e-2, 1e-3])
    inputs = [x, g.weight(x.shape[axis:], least=0.5)] + ([g.weight(x.shape[axis:])] if g.chance(0.6) else [])
    g.add("LayerNormalization", inputs, x.shape,
          lambda t, s, b=0: standardized(t, list(range(axis, x.rank)), np.float32(epsilon or 1e-5)) * s + b, scale=2.0,
          axis=None if axis == x.rank - 1 and g.chance(0.5) else told_axis(g, axis, x.rank), epsilon=epsilon)


@draw(1.5, since=21, ranks=(3, 4, 5))
def group_norm(g, x):
    groups, epsilon = g.pick(divisors(x.shape[1])), g.pick([None, 1e-2, 1e-3])
    need(x.size // x.shape[0] // groups >= 4)
    x = varied(g, x)
    g.add("GroupNormalization", [x, g.weight((x.shape[1],), least=0.5), g.weight((x.shape[1],))], x.shape,
          lambda t, s, b: torch.nn.functional.group_norm(t, groups, s, b, float(np.float32(epsilon or 1e-5))), scale=2.0,
          num_groups=groups, epsilon=epsilon)


@draw(1.5, ranks=(4,))
def lrn(g, x):
    size, alpha, beta, bias = g.pick([1, 3, 5]), g.real(1e-4, 0.5), g.pick([0.5, 0.75, 1.0]), g.pick([1.0, 2.0])

    def meaning(t):
        squares = torch.nn.functional.pad(t * t, [0, 0, 0, 0, size // 2, size // 2])
        total = sum(squares[:, i:i + t.shape[1]] for i in range(size))
        return t / (bias + np.float32(alpha) / size * total)**beta

    g.add("LRN", [x], x.shape, meaning, size=size, alpha=alpha, beta=beta, bias=bias)


@draw(0.7, since=9, ranks=(3, 4))
def mean_variance_norm(g, x):
    axes = g.pick([None, [2], list(range(2, x.rank)), list(range(1, x.rank))])
    need(x.rank == 4 or axes is not None)
    if axes is None:
        need(not g.symbolic)  # by default over the batch, too
    taken = axes or [0, 2, 3]
    need(np.prod([x.shape[a] for a in taken]) >= 6)
    x = g.add("Add", [x, g.weight(x.shape[1:], 0.5)], x.shape, lambda t, w: t + w)  # no zero variance
    g.add("MeanVarianceNormalization", [x], x.shape, lambda t: standardized(t, taken, 1e-9), scale=2.0, axes=axes)


# --- one value in, one of the same shape out


def simple(op, meaning, since=7, smooth=True, scale=None, weight=0.5, prepared=None, **attributes):
    """attributes: functions that draw them; `meaning` receives them by name."""

    def function(g, x):
        x = prepared(g, x) if prepared else x
        drawn = {name: make(g) for name, make in attributes.items()}
        given = {name: value for name, value in drawn.items() if value is not None}
        return g.add(op, [x], x.shape, lambda t: meaning(t, **given), scale=scale(x.scale) if scale else None, **given)

    function.__name__ = op
    return draw(weight, since, smooth=smooth)(function)


def sometimes(least, most):
    return lambda g: g.real(least, most) if g.chance(0.6) else None


def one(_):
    return 1.0


relu = simple("Relu", lambda t: t.relu(), weight=2.5)
simple("LeakyRelu", lambda t, alpha=0.01: torch.where(t < 0, alpha * t, t), alpha=sometimes(0.05, 0.5))
simple("Elu", lambda t, alpha=1.0: torch.where(t < 0, alpha * (t.clamp(max=0).exp() - 1), t), alpha=sometimes(0.5, 2))
simple("Selu", lambda t, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875:
       gamma * torch.where(t < 0, alpha * (t.clamp(max=0).exp() - 1), t), alpha=sometimes(0.5, 2), gamma=sometimes(0.5, 2))
simple("Celu", lambda t, alpha=1.0: torch.where(t < 0, alpha * ((t.clamp(max=0) / alpha).exp() - 1), t), since=12,
       alpha=sometimes(0.5, 2))
simple("Sigmoid", lambda t: t.sigmoid(), scale=one, weight=0.8)
simple("Tanh", lambda t: t.tanh(), scale=one, weight=0.8)
simple("HardSigmoid", lambda t, alpha=0.2, beta=0.5: (alpha * t + beta).clamp(0, 1), scale=one, alpha=sometimes(0.1, 0.7),
       beta=sometimes(0.2, 0.7))
simple("HardSwish", lambda t: t * (t / 6 + 0.5).clamp(0, 1), since=14)
simple("Softplus", lambda t: torch.nn.functional.softplus(t, threshold=1e9), scale=lambda s: s + 1)
simple("Softsign", lambda t: t / (1 + t.abs()), scale=one)
simple("Mish", lambda t: t * torch.nn.functional.softplus(t, threshold=1e9).tanh(), since=18)
simple("ThresholdedRelu", lambda t, alpha=1.0: torch.where(t > alpha, t, 0 * t), since=10, alpha=sometimes(0.1, 0.6))
simple("Abs", lambda t: t.abs())
simple("Neg", lambda t: -t)
simple("Exp", lambda t: t.exp(), scale=lambda s: math.exp(min(s, 2.5)), prepared=tame)
simple("Log", lambda t: t.log(), scale=lambda s: abs(math.log(s + 0.3)) + 1.2, prepared=positive)
simple("Sqrt", lambda t: t.sqrt(), scale=lambda s: math.sqrt(s + 0.3), prepared=positive)
simple("Reciprocal", lambda t: 1 / t, scale=lambda s: 3.3, prepared=positive)
simple("Erf", lambda t: torch.erf(t), since=9, scale=one)
simple("Sign", lambda t: t.sign(), since=9, smooth=False, scale=one)
simple("Floor", lambda t: t.floor(), smooth=False)
simple("Identity", lambda t: t + 0)


@draw(0.6, since=20)
def gelu(g, x):
    form = g.pick([None, "none", "tanh"])

    def meaning(t):
        if form == "tanh":
            return 0.5 * t * (1 + (math.sqrt(2 / math.pi) * (t + 0.044715 * t**3)).tanh())
        return 0.5 * t * (1 + torch.erf(t / math.sqrt(2)))

    g.add("Gelu", [x], x.shape, meaning, approximate=form)


@draw(0.7)
def swish(g, x):
    y = g.add("Sigmoid", [x], x.shape, lambda t: t.sigmoid(), scale=1.0)
    g.add("Mul", [x, y], x.shape, lambda a, b: a * b, scale=x.scale)


@draw(0.5, ranks=(2, 3, 4, 5))
def prelu(g, x):
    shape = g.pick([(x.shape[1],) + (1,) * (x.rank - 2), (1,), (x.shape[-1],), x.shape[1:]])
    g.add("PRelu", [x, g.weight(shape, 0.7)], x.shape, lambda t, s: torch.where(t < 0, s * t, t))


@draw(1)
def clip(g, x):
    low, high = g.pick([(None, None), (-0.5, 0.7), (0.0, 6.0), (None, 0.4), (-0.3, None)])
    least, most = -math.inf if low is None else np.float32(low), math.inf if high is None else np.float32(high)
    meaning = lambda t, *_: t.clamp(float(least), float(most))
    if g.opset < 11:
        g.add("Clip", [x], x.shape, meaning, min=low, max=high)
        return
    bounds = [None if low is None else g.scalar(low)] + ([] if high is None else [g.scalar(high)])
    g.add("Clip", [x] + (bounds if low is not None or high is not None else []), x.shape, meaning)


@draw(0.7)
def dropout(g, x):
    if g.opset < 12:
        g.add("Dropout", [x], x.shape, lambda t: t + 0, ratio=g.pick([None, 0.3]))
    else:
        g.add("Dropout", [x] + ([g.scalar(0.3)] if g.chance(0.5) else []), x.shape, lambda t, *_: t + 0)


@draw(2, ranks=(1, 2, 3, 4, 5))
def softmax(g, x):
    op = g.pick(["Softmax", "Softmax", "LogSoftmax"])
    axis = some_axis(g, x) if g.opset >= 13 else g.whole(1, max(1, x.rank - 1))
    need(axis < x.rank)
    # Up to opset 12 over all axes from that one on.
    kept = x.shape if g.opset >= 13 else (0, int(np.prod(x.shape[axis:])))
    shape = (-1, *kept[1:]) if x.rank > 1 or g.opset < 13 else kept
    function = torch.softmax if op == "Softmax" else torch.log_softmax
    default = 1 if g.opset < 13 else x.rank - 1
    g.add(op, [x], x.shape, lambda t: function(t.reshape(shape), axis if g.opset >= 13 else 1).reshape(t.shape),
          scale=1.0 if op == "Softmax" else x.scale + math.log(x.size),
          axis=None if axis == default and g.chance(0.5) else told_axis(g, axis, x.rank))


# --- two values and more


def broadcast_of(g, x):
    """A shape that is repeated to x's."""
    keep = [g.chance(0.6) and not (g.symbolic and axis == 0) for axis in range(x.rank)]
    shape = tuple(extent if kept else 1 for extent, kept in zip(x.shape, keep))
    begin = g.whole(0, x.rank)
    return g.pick([shape, shape if any(extent > 1 for extent in shape[:begin]) else shape[begin:], (),
                   (x.shape[1],) + (1,) * (x.rank - 2) if x.rank > 1 else (1,)])


def partner(g, x):
    """Another value that meets x, by preference one of the graph's."""
    same = [v for v in g.values if v is not x and v.shape == x.shape and v.dtype == "float32"]
    if same and g.chance(0.7):
        return g.pick(same)

    def meets(v):
        pairs = list(itertools.zip_longest(reversed(v.shape), reversed(x.shape), fillvalue=1))
        if not all(a == b or a == 1 or b == 1 for a, b in pairs) or (g.symbolic and (v.rank != x.rank or not v.rank)):
            return False
        return np.prod([max(pair) for pair in pairs]) <= LARGEST

    others = [v for v in g.values if v is not x and v.dtype == "float32" and meets(v)]
    if others and g.chance(0.5):
        return g.pick(others)
    return g.weight(broadcast_of(g, x))


def joined(a, b):
    return np.broadcast_shapes(a.shape, b.shape)


@draw(4)
def arithmetic(g, x):
    op = g.pick(["Add", "Add", "Sub", "Mul"])
    y = partner(g, x)
    order = [x, y] if g.chance(0.6) else [y, x]
    meaning = {"Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b}[op]
    g.add(op, order, joined(x, y), meaning, scale=x.scale * y.scale if op == "Mul" else x.scale + y.scale)


@draw(1)
def divide(g, x):
    if g.chance(0.5):
        y = g.weight(broadcast_of(g, x), least=0.5)
    else:
        y = partner(g, x)
        need(y.array is None or not g.symbolic)  # what follows from weights alone has no batch
        y = positive(g, y)
    g.add("Div", [x, y], joined(x, y), lambda a, b: a / b, scale=x.scale * 2)


@draw(0.8)
def power(g, x):
    if g.chance(0.5):
        exponent = g.pick([2.0, 3.0, 1.0])
        x = tame(g, x)
    else:
        exponent = g.pick([0.5, -0.5, 1.5, 2.0])
        x = tame(g, x)
        x = positive(g, x)
    g.add("Pow", [x, g.scalar(exponent) if g.chance(0.7) else g.initializer(np.full((1,), exponent, np.float32))],
          x.shape, lambda a, b: a**b, scale=max(2.0, x.scale**exponent))


@draw(1.2)
def variadic(g, x):
    op = g.pick(["Min", "Max", "Sum", "Mean"])
    values, shape = [x], x.shape
    for _ in range(g.whole(0, 2)):
        y = partner(g, x)
        if g.opset < 8:
            need(y.shape == x.shape and not (g.symbolic and y.array is not None))
        try:
            shape = np.broadcast_shapes(shape, y.shape)
        except ValueError:
            raise Skip from None
        values.append(y)
    need(np.prod(shape) <= LARGEST and len(set(values)) == len(values))
    need(op != "Mean" or all(v.shape == shape for v in values))  # ONNX Runtime 1.30 mixes up extents of the others
    g.random.shuffle(values)

    def meaning(*parts):
        result = parts[0]
        for part in parts[1:]:
            result = torch.minimum(result, part) if op == "Min" else torch.maximum(result, part) if op == "Max" else \
                result + part
        return result / len(parts) if op == "Mean" else result + 0

    g.add(op, values, shape, meaning, scale=sum(v.scale for v in values) if op == "Sum" else max(v.scale for v in values))


def condition(g, x):
    ops = ["Less", "Greater"] + (["LessOrEqual", "GreaterOrEqual"] if g.opset >= 12 else [])
    op, y = g.pick(ops), g.weight(broadcast_of(g, x), learnt=False)
    meaning = {"Less": lambda a, b: a < b, "Greater": lambda a, b: a > b, "LessOrEqual": lambda a, b: a <= b,
               "GreaterOrEqual": lambda a, b: a >= b}[op]
    return g.add(op, [x, y], x.shape, meaning, dtype="bool")


@draw(1, since=9)
def where(g, x):
    c = condition(g, x)
    if g.chance(0.4):
        other = condition(g, x)
        op = g.pick(["And", "Or"])
        c = g.add(op, [c, other], x.shape, (lambda a, b: a & b) if op == "And" else (lambda a, b: a | b), dtype="bool")
    if g.chance(0.3):
        c = g.add("Not", [c], x.shape, lambda a: ~a, dtype="bool")
    y = partner(g, x)
    g.add("Where", [c, x, y] if g.chance(0.5) else [c, y, x], joined(x, y), lambda c, a, b: torch.where(c, a, b),
          scale=max(x.scale, y.scale))


@draw(0.4, since=9)
def mask(g, x):
    c = g.add("Cast", [condition(g, x)], x.shape, lambda t: t.float(), scale=1.0, to=1)
    g.add("Mul", [x, c], x.shape, lambda a, b: a * b)


@draw(0.4, smooth=False)
def whole_numbers(g, x):
    y = g.add("Mul", [x, g.scalar(3.7)], x.shape, None, scale=x.scale * 4)
    y = g.add("Cast", [y], x.shape, None, dtype="int64", to=7)
    g.add("Cast", [y], x.shape, None, scale=y.scale, to=1)


@draw(0.6, smooth=False)
def arg_max(g, x):
    axis, keep = some_axis(g, x), g.chance(0.5)
    shape = x.shape[:axis] + ((1,) if keep else ()) + x.shape[axis + 1:]
    y = g.add("ArgMax", [x], shape, None, dtype="int64", axis=told_axis(g, axis, x.rank),
              keepdims=None if keep and g.chance(0.5) else int(keep))
    if g.chance(0.5):
        g.add("Cast", [y], shape, None, scale=x.shape[axis], to=1)


def join(g, values, axis):
    shape = list(values[0].shape)
    shape[axis] = sum(v.shape[axis] for v in values)
    return g.add("Concat", values, fits(shape), lambda *parts: torch.cat(parts, axis), scale=max(v.scale for v in values),
                 axis=told_axis(g, axis, len(shape)))


@draw(2.5, ranks=(2, 3, 4, 5))
def concat(g, x):
    axis = 1 if g.chance(0.6) else some_axis(g, x)
    fit = [v for v in g.values if v.dtype == "float32" and v.rank == x.rank and
           v.shape[:axis] + v.shape[axis + 1:] == x.shape[:axis] + x.shape[axis + 1:]]
    join(g, [x] + [g.pick(fit) for _ in range(g.whole(1, 2))], axis)


# --- products


@draw(1.5, ranks=(2, 3, 4))
def matmul(g, x):
    inside = x.shape[-1]
    if g.chance(0.6) or x.rank == 2:
        y = g.weight((inside, g.whole(1, 9)), math.sqrt(3 / inside))
        g.add("MatMul", [x, y], fits(x.shape[:-1] + (y.shape[-1],)), torch.matmul, scale=x.scale)
        return
    perm = list(range(x.rank - 2)) + [x.rank - 1, x.rank - 2]
    y = g.add("Transpose", [x], [x.shape[p] for p in perm], lambda t: t.permute(perm), perm=perm)
    shape = fits(x.shape[:-1] + (x.shape[-2],))
    y = g.add("MatMul", [x, y], shape, torch.matmul, scale=x.scale**2 * math.sqrt(inside))
    if g.chance(0.6):
        tame(g, y)


@draw(4, ranks=(2,))
def gemm(g, x):
    turned = not g.symbolic and g.chance(0.3)
    rows, inside = (x.shape[1], x.shape[0]) if turned else x.shape
    units, trans = g.whole(1, 12), g.chance(0.6)
    scale = math.sqrt(3 / inside)
    inputs = [x, g.weight((units, inside) if trans else (inside, units), scale)]
    if g.opset < 11 or g.chance(0.7):
        shapes = [(units,), (1, units), (1,), ()] + ([] if g.symbolic else [(rows, 1), (rows, units)])
        inputs.append(g.weight(g.pick(shapes)))
    alpha, beta = g.pick([None, 0.5, 1.5]), g.pick([None, 0.5, 2.0])

    def meaning(a, b, c=0):
        return (alpha or 1.0) * ((a.t() if turned else a) @ (b.t() if trans else b)) + (beta or 1.0) * c

    g.add("Gemm", inputs, (rows, units), meaning, scale=x.scale * 1.5 + 1, alpha=alpha, beta=beta,
          transA=1 if turned else None, transB=1 if trans else None)


# --- reductions


REDUCTIONS = {
    "ReduceSum": lambda t, a, k: t.sum(a, keepdim=k), "ReduceMean": lambda t, a, k: t.mean(a, keepdim=k),
    "ReduceMax": lambda t, a, k: t.amax(a, k), "ReduceMin": lambda t, a, k: t.amin(a, k),
    "ReduceL1": lambda t, a, k: t.abs().sum(a, keepdim=k), "ReduceL2": lambda t, a, k: (t * t).sum(a, keepdim=k).sqrt(),
    "ReduceSumSquare": lambda t, a, k: (t * t).sum(a, keepdim=k),
    "ReduceLogSum": lambda t, a, k: t.sum(a, keepdim=k).log(),
    "ReduceLogSumExp": lambda t, a, k: torch.logsumexp(t, a, k),
    "ReduceProd": None,
}


@draw(3)
def reduction(g, x):
    op = g.pick(list(REDUCTIONS))
    free = list(range(first_axis(g), x.rank))
    need(free)
    axes = sorted(set(g.pick(free) for _ in range(g.whole(1, 3))))
    if op == "ReduceProd":
        axes = axes[:1]
        need(x.shape[axes[0]] <= 8)
    if op in ("ReduceL2", "ReduceLogSum"):
        x = positive(g, x)
    if op in ("ReduceProd", "ReduceLogSumExp"):
        x = tame(g, x)
    keep = g.chance(0.5)
    shape = [1 if a in axes else e for a, e in enumerate(x.shape) if keep or a not in axes]
    count = int(np.prod([x.shape[a] for a in axes]))
    scale = {"ReduceSum": math.sqrt(count), "ReduceL1": count, "ReduceL2": math.sqrt(count),
             "ReduceSumSquare": x.scale * count, "ReduceProd": 1.0}.get(op, 1.0) * x.scale
    if op.startswith("ReduceLog"):
        scale = x.scale + math.log(count) + 1

    def meaning(t, *_):
        return t.prod(axes[0], keepdim=keep) if op == "ReduceProd" else REDUCTIONS[op](t, axes, keep)

    told = [told_axis(g, a, x.rank) for a in axes]
    if g.opset >= (13 if op == "ReduceSum" else 18):
        inputs, told = [x, g.integers(told)], None
    else:
        inputs = [x]
    if len(axes) == x.rank and g.chance(0.4):
        inputs, told = [x], None  # all of them by default
    y = g.add(op, inputs, shape, meaning, scale=scale, axes=told, keepdims=None if keep and g.chance(0.5) else int(keep))
    if keep and g.chance(0.4):
        g.add("Sub", [x, y], x.shape, lambda a, b: a - b, scale=x.scale + y.scale)


# --- other shapes of the same elements


@draw(1.2, ranks=(2, 3, 4, 5))
def flatten(g, x):
    axis = 1 if g.symbolic or g.chance(0.6) else g.whole(0, x.rank)
    shape = (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))
    told = None if axis == 1 and g.chance(0.5) else told_axis(g, axis, x.rank) if axis < x.rank else axis
    g.add("Flatten", [x], shape, lambda t: t.reshape(shape if not g.symbolic else (t.shape[0], -1)), axis=told)


def factors(g, number, most):
    """Some extents with that product."""
    extents = []
    for _ in range(g.whole(0, most - 1)):
        extents.append(g.pick(divisors(number)))
        number //= extents[-1]
    return extents + [number]


@draw(2)
def reshape(g, x):
    if g.symbolic:
        shape = [x.shape[0]] + factors(g, x.size // x.shape[0], 4)
        told = [0 if g.chance(0.6) else -1] + shape[1:]
        if told[0] == 0 and g.chance(0.5):
            told[g.whole(1, len(told) - 1)] = -1
    else:
        shape = [x.shape[0]] + factors(g, x.size // x.shape[0], 4) if g.chance(0.6) else factors(g, x.size, 5)
        told = list(shape)
        if told[0] == x.shape[0] and g.chance(0.5):
            told[0] = 0
        if g.chance(0.5):
            told[g.whole(0, len(told) - 1)] = -1
    meant = [-1] + shape[1:] if g.symbolic else shape
    g.add("Reshape", [x, g.integers(told)], shape, lambda t, _: t.reshape(meant))


@draw(1, ranks=(3, 4, 5))
def view(g, x):
    """x.view(x.size(0), -1), as PyTorch's exporter writes it."""
    batch = g.add("Shape", [x], (x.rank,), lambda t: torch.tensor(t.shape), dtype="int64")
    batch = g.add("Gather", [batch, g.initializer(np.asarray(0, np.int64))], (), lambda t, i: t[0], dtype="int64", axis=0)
    parts = [batch, g.initializer(np.asarray(-1, np.int64))]
    if g.opset < 13:
        parts = [g.add("Unsqueeze", [p], (1,), lambda t: t.reshape(1), dtype="int64", axes=[0]) for p in parts]
    else:
        parts = [g.add("Unsqueeze", [p, g.integers([0])], (1,), lambda t, _: t.reshape(1), dtype="int64") for p in parts]
    shape = g.add("Concat", parts, (2,), lambda *p: torch.cat(p), dtype="int64", axis=0)
    for value in (batch, *parts, shape):  # no outputs: they may hold the batch
        value.users += 1
    g.add("Reshape", [x, shape], (x.shape[0], x.size // x.shape[0]), lambda t, _: t.reshape(t.shape[0], -1))


@draw(1.5, ranks=(2, 3, 4, 5))
def transpose(g, x):
    free = list(range(first_axis(g), x.rank))
    perm = list(range(first_axis(g))) + [free[i] for i in g.random.permutation(len(free))]
    perm = [int(p) for p in perm]
    default = perm == list(reversed(range(x.rank)))
    g.add("Transpose", [x], [x.shape[p] for p in perm], lambda t: t.permute(perm), perm=None if default else perm)


@draw(0.8)
def squeeze(g, x):
    axes = [a for a in range(first_axis(g), x.rank) if x.shape[a] == 1]
    need(axes)
    axes = sorted(g.random.permutation(axes)[:g.whole(1, len(axes))].tolist())
    shape = [e for a, e in enumerate(x.shape) if a not in axes]
    told = [told_axis(g, a, x.rank) for a in axes]
    meant = [-1] + shape[1:] if g.symbolic else shape
    inputs = [x] if g.opset < 13 else [x, g.integers(told)]
    g.add("Squeeze", inputs, shape, lambda t, *_: t.reshape(meant), axes=told if g.opset < 13 else None)


@draw(0.6, ranks=(1, 2, 3, 4))
def unsqueeze(g, x):
    axes = sorted(set(g.whole(first_axis(g), x.rank) for _ in range(g.whole(1, 2))))
    shape = list(x.shape)
    for axis in axes:
        shape.insert(axis, 1)
    told = [told_axis(g, a, len(shape)) for a in axes]
    meant = [-1] + shape[1:] if g.symbolic else shape
    inputs = [x] if g.opset < 13 else [x, g.integers(told)]
    g.add("Unsqueeze", inputs, shape, lambda t, *_: t.reshape(meant), axes=told if g.opset < 13 else None)


@draw(2)
def slice_(g, x):
    free = list(range(first_axis(g), x.rank))
    need(free)
    axes = sorted(set(g.pick(free) for _ in range(g.whole(1, 2))))
    shape, at, starts, ends, steps = list(x.shape), [], [], [], []
    for axis in axes:
        extent = x.shape[axis]
        step = g.pick([1, 1, 2, 3, -1, -2]) if g.opset >= 10 else 1
        start, end = g.whole(0, extent - 1), 0
        end = g.whole(start + 1, extent) if step > 0 else g.whole(-1, start - 1)
        positions = list(range(start, end, step))
        shape[axis] = len(positions)
        at.append(positions)
        starts.append(start - extent if g.chance(0.3) else start)
        if end == extent:
            end = g.pick([extent, extent + 7, (1 << 31) - 1, (1 << 63) - 1])
        elif end == -1:
            end = g.pick([-extent - 1, -(1 << 31), -(1 << 63)])
        elif g.chance(0.3) and end > 0:
            end -= extent
        ends.append(end)
        steps.append(step)

    def meaning(t, *_):
        for axis, positions in zip(axes, at):
            t = t.index_select(axis, torch.tensor(positions))
        return t

    if g.opset < 10:
        g.add("Slice", [x], shape, meaning, starts=starts, ends=ends, axes=axes)
        return
    inputs = [x, g.integers(starts), g.integers(ends), g.integers([told_axis(g, a, x.rank) for a in axes])]
    if set(steps) != {1} or g.chance(0.4):
        inputs.append(g.integers(steps))
    g.add("Slice", inputs, shape, meaning)


@draw(1.5)
def split(g, x):
    axis = some_axis(g, x)
    count = g.whole(2, 3)
    need(x.shape[axis] >= count)
    told, inputs, attributes = told_axis(g, axis, x.rank), [x], {}
    extent = x.shape[axis]
    each = -(-extent // count)
    if g.chance(0.5) and (extent % count == 0 or (g.opset >= 18 and extent - each * (count - 1) > 0)):
        sizes = [each] * (count - 1) + [extent - each * (count - 1)]
        if g.opset >= 18:
            attributes["num_outputs"] = count
    else:
        cuts = sorted(g.random.permutation(np.arange(1, extent))[:count - 1].tolist())
        sizes = np.diff([0] + cuts + [extent]).tolist()
        if g.opset < 13:
            attributes["split"] = sizes
        else:
            inputs.append(g.integers(sizes))
    shapes = [x.shape[:axis] + (size,) + x.shape[axis + 1:] for size in sizes]
    g.add("Split", inputs, shapes, lambda t, *_: torch.split(t, sizes, axis), axis=told, **attributes)


@draw(2)
def pad(g, x):
    mode = g.pick(["constant", "constant", "reflect", "edge"] + (["wrap"] if g.opset >= 19 else []))
    begin, end = [0] * x.rank, [0] * x.rank
    for axis in range(first_axis(g), x.rank):
        if g.chance(0.6):
            most = {"reflect": x.shape[axis] - 1, "wrap": x.shape[axis]}.get(mode, 9)
            begin[axis], end[axis] = g.whole(0, min(2, most)), g.whole(0, min(2, most))
            if mode == "constant" and g.chance(0.15) and x.shape[axis] > 2:
                end[axis] = -1
    need(any(begin + end))
    shape = fits([e + b + a for e, b, a in zip(x.shape, begin, end)])
    value = g.pick([None, 0.0, 0.5, -1.25])

    def meaning(t, *_):
        if mode == "constant":
            pads = [p for pair in reversed(list(zip(begin, end))) for p in pair]
            return torch.nn.functional.pad(t, pads, value=value or 0.0)
        for axis in range(t.dim()):
            extent = t.shape[axis]
            at = np.arange(-begin[axis], extent + end[axis])
            at = at.clip(0, extent - 1) if mode == "edge" else at % extent if mode == "wrap" else \
                (extent - 1 - abs(extent - 1 - abs(at)))
            t = t.index_select(axis, torch.tensor(at))
        return t

    said = None if mode == "constant" and g.chance(0.5) else mode
    if mode != "constant":
        value = None
    if g.opset < 11:
        g.add("Pad", [x], shape, meaning, pads=begin + end, mode=said, value=value)
        return
    axes = [a for a in range(x.rank) if begin[a] or end[a]]
    if g.opset < 18 or g.chance(0.5):
        inputs = [x, g.integers(begin + end)] + ([] if value is None else [g.scalar(value)])
    else:
        inputs = [x, g.integers([begin[a] for a in axes] + [end[a] for a in axes]),
                  None if value is None else g.scalar(value), g.integers([told_axis(g, a, x.rank) for a in axes])]
    g.add("Pad", inputs, shape, meaning, mode=said)


@draw(0.8)
def gather(g, x):
    axis = some_axis(g, x)
    shape = g.pick([(), (g.whole(1, 4),), (2, g.whole(1, 3))])
    indices = g.random.randint(-x.shape[axis] if g.opset >= 11 else 0, x.shape[axis], shape)
    out = fits(x.shape[:axis] + shape + x.shape[axis + 1:])
    flat = torch_index(indices, x.shape[axis])
    meant = [-1 if g.symbolic and a == 0 else e for a, e in enumerate(out)]
    g.add("Gather", [x, g.integers(indices)], out, lambda t, _: t.index_select(axis, torch.tensor(flat)).reshape(meant),
          axis=told_axis(g, axis, x.rank))


def torch_index(indices, extent):
    return (np.asarray(indices).ravel() % extent).tolist()


@draw(0.6)
def tile(g, x):
    repeats = [1 if a < first_axis(g) else g.pick([1, 1, 2, 3]) for a in range(x.rank)]
    g.add("Tile", [x, g.integers(repeats)], fits([e * r for e, r in zip(x.shape, repeats)]), lambda t, _: t.repeat(repeats))


@draw(0.6, since=8, ranks=(2, 3, 4))
def expand(g, x):
    need(1 in x.shape[first_axis(g):])
    shape = [g.whole(1, 4) if e == 1 and a >= first_axis(g) else e for a, e in enumerate(x.shape)]
    told = [1 if (g.symbolic and a == 0) or g.chance(0.2) and e == x.shape[a] else e for a, e in enumerate(shape)]
    meant = [-1 if g.symbolic and a == 0 else e for a, e in enumerate(shape)]
    g.add("Expand", [x, g.integers(told)], fits(shape), lambda t, _: t.expand(meant))


@draw(1, ranks=(4,), since=7)
def depth_to_space(g, x):
    factor = g.pick([2, 3])
    if g.chance(0.5):
        if x.shape[1] % factor**2:
            x = convolution(g, x, factor**2 * g.whole(1, 2), 1, unit_window(g, x))
        n, c, h, w = x.shape
        mode = g.pick([None, "DCR", "CRD"]) if g.opset >= 11 else None
        perm, parts = ([0, 1, 4, 2, 5, 3], [c // factor**2, factor, factor]) if mode == "CRD" else \
            ([0, 3, 4, 1, 5, 2], [factor, factor, c // factor**2])
        g.add("DepthToSpace", [x], (n, c // factor**2, h * factor, w * factor),
              lambda t: t.reshape(t.shape[0], *parts, h, w).permute(perm).reshape(t.shape[0], -1, h * factor, w * factor),
              blocksize=factor, mode=mode)
    else:
        n, c, h, w = x.shape
        need(h % factor == 0 and w % factor == 0)
        h, w = h // factor, w // factor
        g.add("SpaceToDepth", [x], (n, c * factor**2, h, w),
              lambda t: t.reshape(t.shape[0], c, h, factor, w, factor).permute(0, 3, 5, 1, 2, 4).reshape(t.shape[0], -1, h, w),
              blocksize=factor)


# --- resize


def interpolation(extent, out, scale, mode, coordinates, rounding, a, exclude_outside):
    """[out][extent] weights of one axis: what ONNX's Resize says."""
    o = np.arange(out, dtype=np.float64)
    at = {"half_pixel": (o + 0.5) / scale - 0.5,
          "pytorch_half_pixel": (o + 0.5) / scale - 0.5 if out > 1 else 0 * o,
          "align_corners": o * (extent - 1) / max(1, out - 1),
          "asymmetric": o / scale,
          "half_pixel_symmetric": extent / 2 * (1 - out / (scale * extent)) + (o + 0.5) / scale - 0.5}[coordinates]
    matrix = np.zeros((out, extent))
    for row, x in enumerate(at):
        if mode == "nearest":
            i = {"round_prefer_floor": math.ceil(x - 0.5), "round_prefer_ceil": math.floor(x + 0.5),
                 "floor": math.floor(x), "ceil": math.ceil(x)}[rounding]
            matrix[row, min(max(i, 0), extent - 1)] = 1
            continue
        begin, f = math.floor(x), x - math.floor(x)
        if mode == "linear":
            taps = [(begin, 1 - f), (begin + 1, f)]
        else:
            near = lambda d: ((a + 2) * d - (a + 3)) * d * d + 1
            far = lambda d: ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
            taps = [(begin - 1, far(1 + f)), (begin, near(f)), (begin + 1, near(1 - f)), (begin + 2, far(2 - f))]
            if exclude_outside:
                taps = [(i, w) for i, w in taps if 0 <= i < extent]
                total = sum(w for _, w in taps)
                taps = [(i, w / total) for i, w in taps]
        for i, weight in taps:
            matrix[row, min(max(i, 0), extent - 1)] += weight
    return matrix


def resized(t, matrices):
    for axis, matrix in matrices.items():
        t = torch.tensordot(t, torch.tensor(matrix, dtype=t.dtype), ([axis], [1])).movedim(-1, axis)
    return t


@draw(2.5, ranks=(3, 4, 5))
def resize(g, x):
    axes = list(range(2, x.rank))
    mode = g.pick(["nearest", "linear", "cubic"] if x.rank == 4 and g.opset >= 11 else ["nearest", "linear"])
    need(mode == "nearest" or x.rank == 4)
    if g.opset < 11:
        coordinates, rounding = "asymmetric", "floor"
    else:
        kinds = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
        coordinates = g.pick(kinds + (["half_pixel_symmetric"] if g.opset >= 19 else []))
        rounding = g.pick(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    a, outside = g.pick([-0.75, -0.5]), mode == "cubic" and g.chance(0.3)
    by_scale = g.opset < 11 or g.chance(0.5)
    same = g.chance(0.5)
    scales, out = {}, {}
    for axis in axes:
        extent = x.shape[axis]
        scale = scales[2] if same and axis > 2 and by_scale else g.pick([2.0, 1.5, 0.5, 3.0, 1.0] if g.opset >= 10 else [2.0, 3.0, 1.0])
        out[axis] = int(math.floor(extent * scale)) if by_scale else g.whole(1, 2 * extent)
        need(out[axis] >= 1)
        scales[axis] = scale if by_scale else out[axis] / extent
    matrices = {axis: interpolation(x.shape[axis], out[axis], scales[axis], mode, coordinates, rounding, a, outside)
                for axis in axes}
    if coordinates == "align_corners":  # of a size that is no whole number, ONNX Runtime has another idea than ONNX
        need(not by_scale or all(extent * scales[axis] == out[axis] for axis, extent in enumerate(x.shape) if axis in out))
    if mode == "nearest":  # no position that rounding may move to another element
        for axis in axes:
            moved = interpolation(x.shape[axis], out[axis], scales[axis] * (1 + 1e-6), mode, coordinates, rounding, a, outside)
            other = interpolation(x.shape[axis], out[axis], scales[axis] * (1 - 1e-6), mode, coordinates, rounding, a, outside)
            exact = by_scale and coordinates != "half_pixel_symmetric"
            need(exact or ((moved == matrices[axis]).all() and (other == matrices[axis]).all()))
            need(coordinates != "align_corners" or rounding.startswith("round") or x.shape[axis] == out[axis])
    shape = fits(x.shape[:2] + tuple(out[axis] for axis in axes))
    meaning = lambda t, *_: resized(t, matrices)
    every = np.asarray([1.0, 1.0] + [scales[axis] for axis in axes], np.float32)
    if g.opset < 10:
        if g.opset < 9:
            g.add("Upsample", [x], shape, meaning, mode=mode, scales=every.tolist())
        else:
            g.add("Upsample", [x, g.initializer(every)], shape, meaning, mode=mode)
        return
    if g.opset == 10:
        g.add("Resize", [x, g.initializer(every)], shape, meaning, mode=mode)
        return
    partly = g.opset >= 18 and g.chance(0.5)
    sizes = [out[axis] for axis in axes] if partly or g.symbolic else list(shape)
    if g.symbolic and not by_scale and not partly:
        need(g.opset >= 18)
        partly = True
    # Up to opset 12 the regions of interest must be there, even where nothing reads them.
    roi = g.initializer(np.zeros((0,), np.float32)) if g.opset < 13 else None
    if by_scale:
        inputs = [x, roi, g.initializer(every[2:] if partly else every)]
    else:
        inputs = [x, roi, g.initializer(np.zeros((0,), np.float32)) if g.opset < 13 else None, g.integers(sizes)]
    said = lambda value, default: None if value == default and g.chance(0.5) else value
    g.add("Resize", inputs, shape, meaning, mode=said(mode, "nearest"),
          coordinate_transformation_mode=said(coordinates, "half_pixel"),
          nearest_mode=said(rounding, "round_prefer_floor") if mode == "nearest" else None,
          cubic_coeff_a=said(a, -0.75) if mode == "cubic" else None, exclude_outside=1 if outside else None,
          axes=[told_axis(g, axis, x.rank, 19) for axis in axes] if partly else None)


@draw(0.7, since=18, ranks=(4,), smooth=False)
def resize_antialiased(g, x):
    # ONNX Runtime leaves out what is outside in any case.
    out = [g.whole(1, extent) for extent in x.shape[2:]]
    g.add("Resize", [x, None, None, g.integers(out)], (*x.shape[:2], *out), None, mode=g.pick(["linear", "cubic"]),
          antialias=1, exclude_outside=1, axes=[2, 3], coordinate_transformation_mode=g.pick([None, "pytorch_half_pixel"]))
