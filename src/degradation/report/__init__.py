"""From run folders to figures and words: reads files alone, and never imports TensorFlow.

`make` leads from a request to its page: `runs` reads and picks the runs; `claims` judges the
paper's claims by `statistics`; `figures` draws, `panel` by panel; `paper` and `comparison` set runs
beside the paper's numbers and beside other runs; `why` is about probes and interventions;
`provenance` tells how runs were made; `page` and `export` write it all down.
"""

from degradation.report.claims import judge
from degradation.report.export import load_runs
from degradation.report.figures import build_figure
from degradation.report.make import Request, check_claims, write_report
from degradation.report.page import summary_text
from degradation.report.runs import Run, drawn, find_runs, models_of, select

__all__ = [
    "Request",
    "Run",
    "build_figure",
    "check_claims",
    "drawn",
    "find_runs",
    "judge",
    "load_runs",
    "models_of",
    "select",
    "summary_text",
    "write_report",
]
