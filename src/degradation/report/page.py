"""The report: one page for a browser, without script or anything from outside, one for GitHub."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from degradation.records.files import faults_as_user_errors, write_atomically
from degradation.report.caption import caveats
from degradation.report.claims import Finding
from degradation.report.comparison import Comparison
from degradation.report.formats import FILTERS
from degradation.report.pictures import Picture
from degradation.report.precision import RULE, Agreement
from degradation.report.provenance import deviations, facts, run_row
from degradation.report.runs import WORDS, Run
from degradation.report.summary import final_errors
from degradation.report.verdict import BAD, GOOD, headline, outcomes


@dataclass(frozen=True)
class Page:
    """What a report tells. `commands` pairs what is reproduced with the command that does it.

    `left_out` pairs runs of its kind that are not among `runs`, like plain56/seed2, with the
    reason: those that diverged are results, too.
    """

    runs: list[Run]
    findings: list[Finding]
    pictures: list[Picture]
    comparisons: list[Comparison]
    commands: list[tuple[str, str]]
    agreements: list[Agreement] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def write_page(page: Page, out_dir: Path, name: str) -> list[Path]:
    """Write `<name>.html` and `<name>.md` to `out_dir`; the same page gives the same bytes.

    The HTML has its figures inside; the Markdown names them by their files, which lie in
    `out_dir`. Raises `UserError` (exit code 1) if a file cannot be written.
    """
    context, templates = describe(page, name), environment()
    with faults_as_user_errors(f"cannot make the folder {out_dir}"):
        out_dir.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix in ("html", "md"):
        text = templates.get_template(f"report.{suffix}.j2").render(context)
        paths.append(out_dir / f"{name}.{suffix}")
        write_atomically(paths[-1], text.encode())
    return paths


def environment() -> Environment:
    """Give the templates of this package, with the filters that write numbers."""
    templates = Environment(
        loader=PackageLoader("degradation.report"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= FILTERS
    return templates


def describe(page: Page, name: str) -> dict[str, Any]:
    """Put together what both templates show."""
    runs = page.runs
    first = runs[0]
    columns = ["train_error", first.measured]
    errors = final_errors(runs)
    return {
        "title": f"Plain and residual networks on {_data_name(first)}, schedule {first.schedule}",
        "variant": first.variant,
        "headline": headline(page.findings),
        "outcomes": outcomes(runs),
        "caveats": caveats(runs),
        "findings": page.findings,
        "tone": {finding.verdict: _tone(finding.verdict) for finding in page.findings},
        "pictures": page.pictures,
        "errors": errors.to_dict("records"),
        "columns": columns,
        "words": WORDS,
        "has_paper": bool(errors["paper"].notna().any()),
        "paper_sources": sorted(set(errors["paper_source"][errors["paper"].notna()])),
        "comparisons": page.comparisons,
        "agreements": page.agreements,
        "agreement_rule": RULE,
        "facts": facts(runs),
        "rows": [run_row(run) for run in runs],
        "deviations": deviations(runs),
        "left_out": page.left_out,
        "commands": page.commands,
        "commits": sorted({state["git_commit"] for run in runs for state in run.code}),
        "exports": [f"{kind}{name.removeprefix('report')}.csv" for kind in ("curves", "summary")],
    }


def _data_name(run: Run) -> str:
    return "CIFAR-10" if run.config["data"]["name"] == "cifar10" else "synthetic data"


def _tone(verdict: str) -> str:
    return "good" if verdict in GOOD else "bad" if verdict in BAD else "open"
