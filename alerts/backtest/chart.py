"""The trade-off of a sweep as an SVG picture: precision and recall above, the work that it makes below.

Written by hand, without a library: two panels over one axis of thresholds, each line with the band of its 95 %
intervals. Colours differ in lightness as well as in hue, and lines carry their names, so that it reads in grey too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape

from alerts.backtest.score import Estimate, Score
from alerts.backtest.sweep import Sweep
from alerts.values import Kind

_WIDTH, _HEIGHT = 760, 560
_LEFT, _RIGHT = 74, 626  # the panels' edges; names of lines stand to the right
_UPPER, _LOWER = (98, 326), (382, 498)  # top and bottom of each panel
_INK, _FAINT, _GRID = "#1f2933", "#616e7c", "#e4e7eb"
_RECALL, _PRECISION, _WORK = "#9a3412", "#1d4ed8", "#0f766e"
_CLOSE = 16  # names nearer than so many pixels would touch

_RATE = "alerts per 100 accounts and week"

Place = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    colour: str
    figures: Sequence[tuple[float, Estimate]]  # by threshold
    dash: str = ""


def draw_sweep(sweep: Sweep, scores: Sequence[tuple[Fraction, Score]]) -> str:
    """The SVG document."""
    xs = [float(threshold) for threshold, _ in scores]
    across = _scale(xs[0], xs[-1], _LEFT, _RIGHT)
    shares = [
        _Line("recall", _RECALL, [(float(x), score.recall) for x, score in scores]),
        _Line("precision", _PRECISION, [(float(x), score.precision) for x, score in scores], "7 3"),
    ]
    work = _Line("alerts", _WORK, [(float(x), score.rate) for x, score in scores])
    top = _ceiling(max([high for _, high in _bounds(work)], default=1.0))
    base = scores[0][1].base_rate
    highest = max([base, *(high for line in shares for _, high in _bounds(line))])
    full = next(share for share in (0.25, 0.5, 1.0) if share >= highest)
    up, up_work = _scale(0.0, full, _UPPER[1], _UPPER[0]), _scale(0.0, top, _LOWER[1], _LOWER[0])
    parts = [(full * part / 4, f"{full * part / 4 * 100:g} %") for part in range(5)]
    body = [
        *_heading(sweep),
        *_panel(_UPPER, parts, up, "recall (of churns) and precision (of alerts)"),
        *_panel(_LOWER, [(top * part / 2, f"{top * part / 2:g}") for part in range(3)], up_work, _RATE),
        *_thresholds(sweep, xs, across),
        *_own(sweep, xs, across),
        *_level(base, up),
        *_lines(shares, across, up, [(base, f"base rate {base * 100:.3g} %")]),
        *_lines([work], across, up_work, []),
    ]
    title = escape(f"{sweep.rule.id} by threshold")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" aria-label="{title}" font-family="system-ui, sans-serif" font-size="12" '
        f'fill="{_INK}">\n<title>{title}</title>\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _heading(sweep: Sweep) -> Iterator[str]:
    yield _text(_LEFT, 30, sweep.rule.id, size=17, weight=600)
    yield _text(
        _LEFT,
        50,
        f"opens when {sweep.rule.when.text}, with other thresholds; bands are 95 % intervals",
        fill=_FAINT,
    )


def _panel(edges: tuple[int, int], ticks: Sequence[tuple[float, str]], up: Place, name: str) -> Iterator[str]:
    yield _text(_LEFT, edges[0] - 12, name, fill=_FAINT)
    for value, label in ticks:
        y = up(value)
        yield f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_FAINT if value == 0 else _GRID}"/>'
        yield _text(_LEFT - 8, y + 4, label, anchor="end", fill=_FAINT)


def _thresholds(sweep: Sweep, xs: Sequence[float], across: Place) -> Iterator[str]:
    """The axis that both panels share: a mark at each threshold, a number where there is room."""
    last = -math.inf
    for x in xs:
        place = across(x)
        yield f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{_LOWER[1]}" y2="{_LOWER[1] + 4}" stroke="{_FAINT}"/>'
        if place - last >= 48:
            yield _text(place, _LOWER[1] + 19, _shown(sweep, x), anchor="middle", fill=_FAINT)
            last = place
    middle = (_LEFT + _RIGHT) / 2
    name = f"threshold of {sweep.comparison.metric.name} {sweep.comparison.op.value}"
    yield _text(middle, _LOWER[1] + 42, name, anchor="middle", fill=_FAINT)


def _own(sweep: Sweep, xs: Sequence[float], across: Place) -> Iterator[str]:
    own = float(sweep.own)
    if not min(xs) <= own <= max(xs):
        return
    x = across(own)
    for top, bottom in (_UPPER, _LOWER):
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="{_FAINT}" stroke-dasharray="2 3"/>'
    yield _text(x + 5, _UPPER[0] + 12, f"now {_shown(sweep, own)}", fill=_FAINT)


def _shown(sweep: Sweep, threshold: float) -> str:
    percent = sweep.comparison.metric.kind is Kind.RATIO
    return (f"{threshold * 100:g} %" if percent else f"{threshold:g}").replace("-", "−")


def _level(value: float, up: Place) -> Iterator[str]:
    y = up(value)
    yield f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_INK}" stroke-dasharray="1 4"/>'


def _lines(
    lines: Sequence[_Line], across: Place, up: Place, levels: Sequence[tuple[float, str]]
) -> Iterator[str]:
    """Bands first, lines over them, names last, moved apart where they would touch."""
    for line in lines:
        for run in _runs(line):
            yield _band(run, across, up, line.colour)
    names = [(up(value), name, _INK) for value, name in levels]
    for line in lines:
        for run in _runs(line):
            dots = [(across(x), up(figure.value or 0.0)) for x, figure in run]
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
            dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
            yield f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>'
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.colour}"/>' for x, y in dots)
        known = [figure.value for _, figure in line.figures if figure.value is not None]
        if known:
            names.append((up(known[-1]), line.name, line.colour))
    for y, name, colour in _apart(names):
        yield _text(_RIGHT + 10, y + 4, name, fill=colour, weight=600)


def _runs(line: _Line) -> Iterator[list[tuple[float, Estimate]]]:
    """Figures in a row that are there: a line does not cross a threshold that gave none."""
    run: list[tuple[float, Estimate]] = []
    for x, figure in line.figures:
        if figure.value is not None:
            run.append((x, figure))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _bounds(line: _Line) -> Iterator[tuple[float, float]]:
    for _, figure in line.figures:
        if figure.value is not None:
            yield figure.interval or (figure.value, figure.value)


def _band(run: Sequence[tuple[float, Estimate]], across: Place, up: Place, colour: str) -> str:
    ends = [(x, figure.interval or (figure.value or 0.0, figure.value or 0.0)) for x, figure in run]
    there = [f"{across(x):.1f},{up(high):.1f}" for x, (_, high) in ends]
    back = [f"{across(x):.1f},{up(low):.1f}" for x, (low, _) in reversed(ends)]
    return f'<polygon points="{" ".join(there + back)}" fill="{colour}" fill-opacity="0.13"/>'


def _apart(names: Sequence[tuple[float, str, str]]) -> Iterator[tuple[float, str, str]]:
    """From the lowest up, each far enough above the one below it."""
    free = math.inf
    for y, name, colour in sorted(names, reverse=True):
        free = min(y, free - _CLOSE)
        yield free, name, colour


def _scale(low: float, high: float, start: float, stop: float) -> Place:
    return lambda value: start + (value - low) / (high - low) * (stop - start)


def _ceiling(value: float) -> float:
    """The next round number: 1, 2, 4 or 10 times a power of ten, which four steps divide."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    fill: str = _INK,
    size: int = 12,
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
