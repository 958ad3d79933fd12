"""From run folders to figures and words: reads files alone, and never imports TensorFlow."""

from degradation.report.claims import Finding, judge
from degradation.report.comparison import Agreement, compare, compare_precisions
from degradation.report.curves import drawable, drawn, missing, models_of
from degradation.report.export import final_errors, load_runs, write_export
from degradation.report.figures import (
    build_depth,
    build_figure,
    draw_depth,
    draw_figure,
    draw_pictures,
)
from degradation.report.page import Page, summary_text, write_page
from degradation.report.paper import compare_with_paper, response_distance
from degradation.report.runs import (
    Run,
    find_runs,
    of_any_precision,
    pick,
    schedule_folder,
    select,
)

__all__ = [
    "Agreement",
    "Finding",
    "Page",
    "Run",
    "build_depth",
    "build_figure",
    "compare",
    "compare_precisions",
    "compare_with_paper",
    "draw_depth",
    "draw_figure",
    "draw_pictures",
    "drawable",
    "drawn",
    "final_errors",
    "find_runs",
    "judge",
    "load_runs",
    "missing",
    "models_of",
    "of_any_precision",
    "pick",
    "response_distance",
    "schedule_folder",
    "select",
    "summary_text",
    "write_export",
    "write_page",
]
