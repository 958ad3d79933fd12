"""From run folders to figures and words: reads files alone, and never imports TensorFlow."""

from degradation.report.curves import Run, find_runs, missing, models_of, select
from degradation.report.figures import build_figure, draw_figure
from degradation.report.summary import final_errors, summary_text

__all__ = [
    "Run",
    "build_figure",
    "draw_figure",
    "final_errors",
    "find_runs",
    "missing",
    "models_of",
    "select",
    "summary_text",
]
