"""The report: one page in Markdown, the same as HTML, and in brief for README and terminal."""

import base64
import re
import textwrap
from dataclasses import dataclass, field
from html import escape, unescape
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown

from degradation.config import read_figures
from degradation.records.files import write_atomically
from degradation.report.claims import BAD, GOOD, RUNS_MISSING, Finding, headline, judge
from degradation.report.comparison import Agreement, Comparison
from degradation.report.export import final_errors
from degradation.report.figures import Picture, drawable
from degradation.report.paper import compare_with_paper
from degradation.report.provenance import (
    caveats,
    deviations,
    facts,
    how_made,
    machine,
    run_row,
    shared,
)
from degradation.report.runs import WORDS, Run
from degradation.report.statistics import Difference

TEMPLATES = Path(__file__).parent / "templates"
START, END = "<!-- recorded: {} -->\n", "<!-- end: {} -->"
WIDTH = 100  # columns of the terminal
HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""


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
    first = page.runs[0]
    data = "CIFAR-10" if first.config["data"]["name"] == "cifar10" else "synthetic data"
    title = f"Plain and residual networks on {data}, schedule {first.schedule}"
    markdown = _render(
        **vars(page),
        title=title,
        facts=facts(page.runs),
        rows=[run_row(run) for run in page.runs],
        deviations=deviations(page.runs),
        commits=sorted({state["git_commit"] for run in page.runs for state in run.code}),
        exports=[f"{kind}{name.removeprefix('report')}.csv" for kind in ("curves", "summary")],
    )
    paths = [out_dir / f"{name}.html", out_dir / f"{name}.md"]
    for path, text in zip(paths, (_to_html(markdown, title, page.pictures), markdown), strict=True):
        write_atomically(path, text.encode())
    return paths


def section(schedule: str, runs: list[Run]) -> str:
    """Tell the README what is recorded on a schedule: verdicts, a figure, errors, the paper's.

    `runs` are all of the schedule without overrides, as `pick` picks them. The report on them lies
    in `results/recorded/<schedule>/`, with its figures.
    """
    folder = f"results/recorded/{schedule}"
    if not runs:
        return f"Nothing is recorded in `{folder}` yet.\n"
    names = {spec["name"] for part in drawable(read_figures().values(), runs) for spec in part}
    figure = next((name for name in ("figure6", "figure1") if name in names), None)
    findings = judge(runs)
    tested = [finding for finding in findings if finding.verdict != RUNS_MISSING]
    more = {"headline": headline(findings), "folder": folder, "figure": figure}
    return _render(runs, tested, brief=True, **more)


def fill(readme: Path, schedule: str, text: str) -> bool:
    """Put `text` between the markers of a schedule, if the file has them; say whether it has."""
    start, end = START.format(schedule), END.format(schedule)
    before = readme.read_bytes().decode() if readme.is_file() else ""
    head, started, rest = before.partition(start)
    _, ended, tail = rest.partition(end)
    after = "".join([head, start, text, end, tail])
    if started and ended and after != before:
        write_atomically(readme, after.encode())
    return bool(started and ended)


def summary_text(runs: list[Run], findings: list[Finding]) -> str:
    """Tell in 100 columns how the networks ended and what became of the claims (`judge`).

    `findings` are what `judge` makes of `runs`. Commands are not broken, so that they can be
    copied. Raises UserError as `final_errors` does.
    """
    console = Console(file=StringIO(), width=WIDTH, color_system=None)
    console.print(Markdown(_render(runs, findings, brief=True)))
    printed = console.file.getvalue().splitlines()
    text = "\n".join(line.rstrip().removeprefix(" ") for line in printed)
    lines = re.sub(r"\n{3,}", "\n\n", text.strip("\n")).splitlines()
    for missing in _missing(findings):
        told = "No finished run of {models}, for {claims}".format(**missing)
        lines += ["", *textwrap.wrap(told, WIDTH), *filter(None, [missing["command"]])]
    return "\n".join(lines)


def _render(runs: list[Run], findings: list[Finding], brief: bool = False, **more: Any) -> str:
    """Fill in the template, as a whole with what `write_page` adds, or in brief."""
    errors = final_errors(runs)
    templates = Environment(
        loader=PackageLoader("degradation.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        **{"percent": percent, "spread": spread, "points": points, "interval": interval},
        **{"count": count, "cell": cell, "link": quote},
    }
    context = {
        "brief": brief,
        "folder": "",
        "figure": None,
        "headline": headline(findings),
        "caveats": caveats(runs),
        "variant": runs[0].variant,
        "findings": findings,
        "runs_missing": RUNS_MISSING,
        "missing": _missing(findings),
        "errors": errors.to_dict("records"),
        "measured": runs[0].measured,
        "words": WORDS,
        "paper_sources": sorted(set(errors["paper_source"]) - {""}),
        "beside_paper": compare_with_paper(runs).to_dict("records"),
        "schedule": runs[0].schedule,
        "how_made": how_made(runs),
        "machine": shared("Machine", machine, runs),
    }
    markdown = templates.get_template("report.md.j2").render(context | more)
    return re.sub(r"\n{3,}", "\n\n", markdown.strip("\n")) + "\n"


def _missing(findings: list[Finding]) -> list[dict[str, str]]:
    """Tell for each command that trains what claims lack: which claims, and which models."""
    commands: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.verdict == RUNS_MISSING:
            commands.setdefault(finding.command, []).append(finding)
    return [
        {
            "claims": f"claim{'s' * (len(known) > 1)} " + ", ".join(str(f.number) for f in known),
            "models": ", ".join(dict.fromkeys(m for finding in known for m in finding.lacking)),
            "command": command,
        }
        for command, known in commands.items()
    ]


def _to_html(markdown: str, title: str, pictures: list[Picture]) -> str:
    """Render a page for a browser: tables that scroll, verdicts as badges, figures inside."""
    known = {picture.png.name: picture for picture in pictures}

    def figure(found: re.Match) -> str:
        picture = known[unquote(unescape(found[1]))]
        data = base64.b64encode(picture.svg.read_bytes()).decode()
        image = f'<img src="data:image/svg+xml;base64,{data}" alt="{found[2]}">'
        return f"<figure>{image}<figcaption>{escape(picture.caption)}</figcaption></figure>"

    def badge(found: re.Match) -> str:
        tone = "good" if found[1] in GOOD else "bad" if found[1] in BAD else "open"
        return f'<span class="verdict {tone}">{found[1]}</span></td>'

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = re.sub(r'<p><img src="(.+?)" alt="(.*?)" ?/?></p>', figure, body)
    body = re.sub(r"<strong>([^<]+)</strong></td>", badge, body)
    body = re.sub(r"(?s)<table>.+?</table>", r'<div class="scroll" tabindex="0">\g<0></div>', body)
    body = re.sub(r"<thead>\s*<tr>(\s*<th></th>)+\s*</tr>\s*</thead>\s*", "", body)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return HTML.format(title=escape(title), style=style, body=body)


def percent(value: float | None) -> str:
    """Write an error in percent with two decimals; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:.2f}"


def spread(deviation: float) -> str:
    """Write a standard deviation after its mean; nothing where there is none."""
    return "" if pd.isna(deviation) else f" ± {deviation:.2f}"


def count(value: int | None) -> str:
    """Write a whole number with its thousands apart; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:,}"


def points(value: float | None) -> str:
    """Write a difference with its sign: +0.52, −1.10; a dash where there is none."""
    return "–" if pd.isna(value) else f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


def interval(difference: Difference) -> str:
    """Write the 95 % interval of a difference; a dash where there is none."""
    if difference.low is None or difference.high is None:
        return "–"
    return f"{points(difference.low)} to {points(difference.high)}"


def cell(text: Any) -> str:
    """Write a text so that it stays in its cell of a Markdown table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;")
