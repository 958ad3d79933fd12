"""How numbers and words are written in the report's templates."""

import base64
import re
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup, escape


class Bounded(Protocol):
    """What has a 95 % interval, or None and None where there are too few seeds for one."""

    low: float | None
    high: float | None


def percent(value: float | None) -> str:
    """Write an error in percent with two decimals; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:.2f}"


def count(value: int | None) -> str:
    """Write a whole number with its thousands apart; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:,}"


def points(value: float) -> str:
    """Write a difference in percentage points with its sign: +0.52, −1.10."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


def interval(difference: Bounded) -> str:
    """Write the 95 % interval of a difference, or that there is none."""
    if difference.low is None or difference.high is None:
        return "none"
    return f"{points(difference.low)} to {points(difference.high)}"


def code(text: str) -> Markup:
    """Escape a text for HTML, and set what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def cell(text: Any) -> str:
    """Write a text so that it stays in its cell of a Markdown table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;")


def data_uri(path: Path) -> str:
    """Put an SVG file into an address, so that a page needs no other file."""
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"


FILTERS = {
    "percent": percent,
    "points": points,
    "interval": interval,
    "count": count,
    "code": code,
    "cell": cell,
    "link": quote,
    "data_uri": data_uri,
}
"""By the name that templates use."""
