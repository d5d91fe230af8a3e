"""Bars in groups, as SVG.

    bars("title", {"vgg16": {"batch 1": 1.2, "batch 8": 2.1}, ...})
"""
from xml.sax.saxutils import escape

COLOURS = ["#1f5f99", "#7fb2dd", "#b3591b", "#eeb07f"]
LABELS, WIDTH, BAR, GAP, TOP = 150, 560, 13, 12, 64  # pixels: left of the bars, of the bars, and between


def text(x, y, what, anchor="start", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(what)}</text>'


def step_for(largest):
    """Between two lines of the grid: at most eight of them."""
    return next(step for step in (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if largest / step <= 8)


def bars(title, groups):
    """{group: {bar: ratio}}; bars of one name have one colour. The line at 1 is drawn: longer bars are better."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    largest = max(value for group in groups.values() for value in group.values())
    step = step_for(largest)
    scale = WIDTH / (step * -(-largest // step))
    height = TOP + sum(len(group) * BAR + GAP for group in groups.values())
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + WIDTH + 50}" height="{height + 24}" '
             'font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             text(LABELS, 20, title, extra=' font-size="14" font-weight="bold"')]
    for number, name in enumerate(names):
        x = LABELS + number * 150
        parts.append(f'<rect x="{x}" y="32" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>')
        parts.append(text(x + 17, 42, name))
    for tick in range(int(-(-largest // step)) + 1):
        x = LABELS + tick * step * scale
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height}" stroke="#dddddd"/>')
        parts.append(text(x, height + 15, f"{tick * step:g}", "middle", ' fill="#555555"'))
    y, labels = TOP, []
    for label, group in groups.items():
        parts.append(text(LABELS - 8, y + len(group) * BAR / 2 + 4, label, "end"))
        for name, value in group.items():
            colour = COLOURS[names.index(name) % len(COLOURS)]
            parts.append(f'<rect x="{LABELS}" y="{y}" width="{value * scale:.1f}" height="{BAR - 2}" fill="{colour}"/>')
            labels.append(text(LABELS + value * scale + 4, y + BAR - 3, f"{value:.2f}", extra=' font-size="10"'))
            y += BAR
        y += GAP
    x = LABELS + scale
    parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height}" stroke="#333333" '
                 'stroke-dasharray="4 3"/>')
    return "\n".join(parts + labels + ["</svg>", ""])
