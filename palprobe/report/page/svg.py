"""Small drawings as SVG. Colours come from the page's style by class; every text is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from palprobe.report.text import number_text, visible

MOST_TICKS = 5
STEPS = (1.0, 2.0, 5.0)  # times a power of ten: where ticks may stand
STRIP_HEIGHT = 32  # of a strip, whose width is 100 and stretches with its cell


@dataclass(frozen=True)
class Axis:
    """One side of a chart: which numbers lie between which two places."""

    low: float
    high: float
    start: float  # where `low` is drawn
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        low, high, place = (math.log10(x) if self.logarithmic else x for x in (self.low, self.high, value))
        return self.start + (place - low) / (high - low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        marks = _decades(self.low, self.high) if self.logarithmic else []
        return marks if len(marks) > 2 else _steps(self.low, self.high)


def axis_over(
    values: Iterable[float], start: float, end: float, *, log_from: float = math.inf, room: float = 0.06
) -> Axis:
    """An axis that holds all the values, with some room at both ends.

    Args:
        values: one or more.
        start: where the lower end is drawn.
        end: where the upper end is.
        log_from: ratio of the largest to the smallest from which on the axis is logarithmic.
        room: at each end, as a share of the whole; a single value gets room in any case.
    """
    listed = list(values)
    low, high = min(listed), max(listed)
    if low > 0 and high / low >= log_from and high > low:
        spread = (high / low) ** room
        return Axis(low / spread, high * spread, start, end, logarithmic=True)
    spread = (high - low) * room or abs(high) * 0.1 or 1.0
    return Axis(low - spread, high + spread, start, end)


def element(name: str, content: str = "", **attributes: object) -> Markup:
    """One element; attributes and content are escaped, but for content that is markup already.

    A trailing underscore of an attribute's name is dropped, another becomes a hyphen.
    """
    named = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    pairs = Markup("").join(Markup(' {}="{}"').format(key, _written(value)) for key, value in named)
    return Markup("<{0}{1}>{2}</{0}>").format(name, pairs, content if isinstance(content, Markup) else visible(content))


def drawing(parts: Iterable[Markup], width: float, height: float, label: str, class_: str = "chart") -> Markup:
    """A picture of its own size in pixels, with a sentence for those who do not see it."""
    size = {"viewBox": f"0 0 {_written(width)} {_written(height)}", "width": width, "height": height}
    return element("svg", Markup("").join(parts), class_=class_, role="img", aria_label=label, **size)


def strip(
    value: float,
    low: float | None,
    high: float | None,
    axis: Axis,
    *,
    marks: Sequence[tuple[float, str]] = (),
    tone: str = "",
) -> Markup:
    """A value with its interval as a line that is as wide as its cell; the numbers stand beside it as text.

    Args:
        value: drawn as a dot.
        low: end of the interval; None: not known.
        high: the other end.
        axis: from 0 to 100.
        marks: further places, each with the class of its line, e.g. where chance is.
        tone: a class for the whole.
    """
    paths = [(f"mark {kind}", f"M{_short(axis.at(place))} 0V{STRIP_HEIGHT}") for place, kind in marks]
    middle = STRIP_HEIGHT // 2
    if low is not None and high is not None:
        start, end = (_short(min(100.0, max(0.0, axis.at(place)))) for place in (low, high))
        paths.append(("whisker", f"M{start} {middle}H{end}"))
    # A line of no length with round ends is a dot that stays round however the strip is stretched.
    paths.append(("dot", f"M{_short(axis.at(value))} {middle}h0"))
    return element(
        "svg",
        Markup("").join(Markup('<path class="{}" d="{}"/>').format(*path) for path in paths),
        class_=f"strip {tone}".rstrip(),
        viewBox=f"0 0 100 {STRIP_HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def line(points: Sequence[tuple[float, float]], class_: str, title: str = "") -> Markup:
    """Straight lines from point to point, named when pointed at."""
    path = "M" + "L".join(f"{_written(x)} {_written(y)}" for x, y in points)
    return element("path", element("title", title) if title else "", class_=class_, d=path)


def text(content: str, x: float, y: float, class_: str = "tick") -> Markup:
    return element("text", content, x=x, y=y, class_=class_)


def frame(x: Axis, y: Axis, x_label: str, y_label: str) -> list[Markup]:
    """Grid lines with their numbers, and what the two sides mean."""
    parts = []
    for tick in x.ticks:
        parts.append(line([(x.at(tick), y.start), (x.at(tick), y.end)], "grid"))
        parts.append(text(number_text(tick), x.at(tick), y.start + 14, "tick middle"))
    for tick in y.ticks:
        parts.append(line([(x.start, y.at(tick)), (x.end, y.at(tick))], "grid"))
        parts.append(text(number_text(tick), x.start - 5, y.at(tick) + 3.5, "tick end"))
    parts.append(text(x_label + (", logarithmic" if x.logarithmic else ""), x.end, y.start + 30, "tick end"))
    parts.append(text(y_label + (", logarithmic" if y.logarithmic else ""), x.start, y.end - 8, "tick"))
    return parts


def _written(value: object) -> str:
    """Numbers to a hundredth of a pixel: '12.5', '3'."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else visible(str(value))


def _short(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")


def _steps(low: float, high: float) -> list[float]:
    rough = (high - low) / MOST_TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next((times * power for times in STEPS if times * power >= rough), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for times in (STEPS, (1.0, 3.0), (1.0,)):
        ticks = [
            mantissa * 10.0**power for power in powers for mantissa in times if low <= mantissa * 10.0**power <= high
        ]
        if len(ticks) <= MOST_TICKS:
            break
    return ticks
