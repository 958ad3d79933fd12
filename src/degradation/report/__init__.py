"""From run folders to figures and words: reads files alone, and never imports TensorFlow."""

from degradation.report.claims import Finding, judge
from degradation.report.comparison import compare
from degradation.report.curves import drawable, drawn, models_of, response_distance
from degradation.report.depth import build_depth, draw_depth
from degradation.report.export import load_runs, write_export
from degradation.report.figures import build_figure, draw_figure
from degradation.report.page import Page, write_page
from degradation.report.pictures import Picture, draw_pictures
from degradation.report.precision import Agreement, compare_precisions
from degradation.report.runs import Run, find_runs
from degradation.report.selection import missing, of_any_precision, pick, schedule_folder, select
from degradation.report.summary import final_errors, summary_text

__all__ = [
    "Agreement",
    "Finding",
    "Page",
    "Picture",
    "Run",
    "build_depth",
    "build_figure",
    "compare",
    "compare_precisions",
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
