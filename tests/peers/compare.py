"""When are two results the same? Rounding is part of both sides, and some networks make much of it."""
import numpy as np


def noise(run, feeds, count=2):
    """How far each result moves when the inputs do, by about ten units in the last place: [arrays], and the results."""
    results = run(feeds)
    moved = [np.zeros(r.shape) for r in results]
    random = np.random.RandomState(7)
    for _ in range(count):
        near = {n: (a * (1 + 1e-6 * random.uniform(-1, 1, a.shape))).astype(a.dtype) for n, a in feeds.items()}
        for total, result, other in zip(moved, results, run(near)):
            if result.dtype.kind == "f":
                with np.errstate(invalid="ignore"):
                    np.maximum(total, np.nan_to_num(abs(other.astype(np.float64) - result)), out=total)
    return results, moved


def difference(name, got, want, moved, tolerance=3e-5):
    """"" where they agree; `moved`: as noise() says."""
    if got.shape != want.shape:
        return f"{name}: shape {list(got.shape)} instead of {list(want.shape)}"
    if want.dtype.kind != "f":
        wrong = got != want
    else:
        got, want = got.astype(np.float64), want.astype(np.float64)
        finite = np.isfinite(want)
        largest = abs(want[finite]).max() if finite.any() else 0
        with np.errstate(invalid="ignore"):
            allowed = tolerance * (abs(want) + 0.1 * largest) + 1e-6 + 30 * (moved + moved.max(initial=0) / 10)
            wrong = ~(abs(got - want) <= allowed)
        wrong &= ~((got == want) | (np.isnan(got) & np.isnan(want)))
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (f"{name} {list(want.shape)}: {int(wrong.sum())} of {wrong.size} elements differ; the first is {list(at)}: "
            f"{got[at]:.9g} instead of {want[at]:.9g}")
