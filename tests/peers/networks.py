"""Draws whole networks: some inputs, then ops on values that are there, then what nobody reads becomes an output."""
from draws import LARGEST, TABLE, Skip
from graph import Graph


def start(g):
    rank = g.pick([4, 4, 4, 4, 4, 3, 3, 5, 2])
    most = {2: 24, 3: 20, 4: 13, 5: 6}[rank]
    shape = (g.batch, g.whole(1, 7), *(g.whole(3, most) for _ in range(rank - 2)))
    g.input(shape)
    for _ in range(g.pick([0, 0, 0, 1, 2])):
        kind = g.whole(0, 2)
        if kind == 0:
            g.input(shape)
        elif kind == 1:
            g.input((g.batch, *(e if g.chance(0.5) else 1 for e in shape[1:])))
        else:
            g.input((g.batch, g.whole(1, 9)))


def operand(g):
    """The newest values most of the time, so that networks are deep, too."""
    values = [v for v in g.values if v.dtype == "float32" and v.rank >= 1 and v.size <= LARGEST]
    recent = values[-3:]
    return g.pick(recent if g.chance(0.75) else values)


def drawn(seed, differentiable=False):
    g = Graph(seed, differentiable)
    start(g)
    wanted, tries = g.whole(2, 12), 0
    while wanted > 0 and tries < 200:
        tries += 1
        x = operand(g)
        if x.scale > 12:
            x = g.add("Tanh", [x], x.shape, lambda t: t.tanh(), scale=1.0)
        known = [row for row in TABLE if row[2] <= g.opset <= row[3] and x.rank in row[4] and
                 (row[5] or not differentiable)]
        at = g.random.rand() * sum(row[1] for row in known)
        for row in known:
            at -= row[1]
            if at < 0:
                break
        before = len(g.nodes)
        try:
            row[0](g, x)
            wanted -= 1
        except Skip:
            undo(g, before)
    finish(g)
    return g


def undo(g, before):
    """Takes back what a draw had added when it gave up."""
    for node in g.nodes[before:]:
        for value in node.inputs:
            if value is not None:
                value.users -= 1
    gone = {id(value) for node in g.nodes[before:] for value in node.outputs}
    g.nodes = g.nodes[:before]
    g.values = [value for value in g.values if id(value) not in gone]


def finish(g):
    """Outputs: what nobody reads, and now and then what somebody does. Weights that lost their reader go."""
    made = [v for node in g.nodes for v in node.outputs if node.op != "Constant"]
    if not made:
        x = g.values[0]
        made = [g.add("Relu", [x], x.shape, lambda t: t.relu())]
    g.outputs = [v for v in made if v.users == 0 or (v.dtype == "float32" and g.chance(0.05))]
    if g.differentiable:
        g.outputs = [v for v in g.outputs if v.dtype == "float32"] or [v for v in made if v.dtype == "float32"][-1:]
    read = {id(v) for node in g.nodes for v in node.inputs if v is not None}
    g.initializers = [v for v in g.initializers if id(v) in read]
    g.nodes = [n for n in g.nodes if n.op != "Constant" or id(n.outputs[0]) in read]
