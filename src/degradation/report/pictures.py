"""The figures of a report: drawn, and described for those who read or hear them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from degradation.report.caption import caption, depth_caption
from degradation.report.curves import comparable, draws_responses
from degradation.report.depth import TITLE_TEXT, draw_depth
from degradation.report.figures import draw_figure
from degradation.report.runs import WORDS, Run, mean_final


@dataclass(frozen=True)
class Picture:
    """A drawn figure: its heading, the text under it, what it shows in words, its files.

    The text is without the caveats of the schedule: the report has them once, at its beginning.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: Path
    svg: Path


def draw_pictures(
    figures: list[dict[str, Any]], runs: list[Run], out_dir: Path, suffix: str
) -> list[Picture]:
    """Draw error against depth, if there are two depths, then each of `figures`, to `out_dir`.

    Files are called `<name><suffix>.png` and `.svg`. Raises `UserError` as `draw_figure` does.
    """
    pictures = []
    if files := draw_depth(runs, out_dir, f"depth{suffix}"):
        shown = [run for run in runs if run.of_section_4_2]
        text = depth_caption(shown).split("\n")[0]
        pictures.append(Picture("depth", TITLE_TEXT, text, _alt("Errors", "depth", shown), *files))
    for figure in figures:
        shown = comparable(figure, runs)
        files = draw_figure({**figure, "name": f"{figure['name']}{suffix}"}, runs, out_dir)
        alt = _alt("Error curves", "iterations", shown)
        if draws_responses(figure):
            alt = _responses_alt(shown)
        text = caption(figure, shown).split("\n")[0]
        pictures.append(Picture(figure["name"], figure["title"], text, alt, *files))
    return pictures


def _alt(what: str, axis: str, runs: list[Run]) -> str:
    """Say what is drawn, and at which error each network ends, as a mean over its seeds."""
    column = runs[0].measured
    ends = [f"{name} at {mean_final(group, column):.1f} %" for name, group in _networks(runs)]
    return f"{what} against {axis}; final {WORDS[column]} error of {', '.join(ends)}."


def _responses_alt(runs: list[Run]) -> str:
    """Say what is drawn, and each network's mean over its layers and seeds."""
    means = [
        f"{name} {fmean(run.responses.mean() for run in group):.2f}"
        for name, group in _networks(runs)
    ]
    what = "Standard deviations of responses against layers, in their order and sorted"
    return f"{what}; means over the layers: {', '.join(means)}."


def _networks(runs: list[Run]) -> Iterable[tuple[str, list[Run]]]:
    networks: dict[str, list[Run]] = {}
    for run in runs:
        networks.setdefault(run.network, []).append(run)
    return networks.items()
