"""The figures of a report: drawn, and described for those who read or hear them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from degradation.report.caption import caption, depth_caption
from degradation.report.curves import comparable
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
        text = caption(figure, shown).split("\n")[0]
        pictures.append(Picture(figure["name"], figure["title"], text, alt, *files))
    return pictures


def _alt(what: str, axis: str, runs: list[Run]) -> str:
    """Say what is drawn, and at which error each network ends, as a mean over its seeds."""
    column = runs[0].measured
    networks: dict[str, list[Run]] = {}
    for run in runs:
        networks.setdefault(run.network, []).append(run)
    ends = [f"{name} at {mean_final(group, column):.1f} %" for name, group in networks.items()]
    return f"{what} against {axis}; final {WORDS[column]} error of {', '.join(ends)}."
