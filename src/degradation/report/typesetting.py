"""Text in a figure, in inches and points: how large it is, where lines break, what may touch."""

from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from scipy.optimize import isotonic_regression

TITLE, TEXT, SMALL = 10, 8, 7.5  # points


def line_height(size: float) -> float:
    """Distance of two lines of `size` points, in inches."""
    return 1.3 * size / 72


def text_width(figure: Figure, text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text of `size` points, in inches."""
    font = FontProperties(size=size, weight=weight)
    pixels, _, _ = figure.canvas.get_renderer().get_text_width_height_descent(text, font, False)
    return pixels / figure.dpi


def wrap(figure: Figure, text: str, size: float, width: float) -> list[str]:
    """Break each line of text where it would become wider than `width` inches."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and text_width(figure, longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def spread(wanted: Iterable[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart to at least `gap`, each group about its own mean, within [low, high].

    The order stays: this is the isotonic (least-squares) fit.
    """
    wanted = np.asarray(list(wanted), dtype=float)
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    level = isotonic_regression(wanted[order] - steps).x
    places = np.empty_like(wanted)
    places[order] = np.clip(level, low, high - steps[-1]) + steps
    return places.tolist()
