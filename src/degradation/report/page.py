"""The report: one page in Markdown, the same as HTML, and in brief for README and terminal."""

import base64
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown

from degradation.config import ROOT, read_figures
from degradation.records.files import write_atomically
from degradation.report.claims import BAD, GOOD, Finding, headline, judge
from degradation.report.comparison import Agreement, Comparison
from degradation.report.export import class_errors, final_errors
from degradation.report.figures import Picture, drawable
from degradation.report.paper import compare_with_paper
from degradation.report.provenance import caveats, facts, how_made, machines, named, run_row
from degradation.report.runs import WORDS, Run
from degradation.report.statistics import Difference
from degradation.report.why import Why, factor

TEMPLATES = Path(__file__).parent / "templates"
README = ROOT / "README.md"
START, END = "<!-- recorded: paper -->\n", "<!-- end: paper -->"
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
    """What a report tells. `commands` make its runs again, and then the report.

    `left_out` pairs runs of its kind that are not among `runs`, like plain56/seed2, with the
    reason. Those that diverged are results, too; `lost` has them.
    """

    runs: list[Run]
    findings: list[Finding]
    pictures: list[Picture]
    comparisons: list[Comparison]
    commands: list[str]
    lost: list[Run] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    why: Why = Why()


def write_page(page: Page, out_dir: Path, suffix: str = "") -> list[Path]:
    """Write `report<suffix>.html`, `.md` and a model card; the same page gives the same bytes.

    They go to `out_dir`. The HTML has its figures inside; the Markdown names them by their files,
    which lie there, too. Raises `UserError` (exit code 1) if a file cannot be written.
    """
    name = page.runs[0].config["data"]["name"]
    data = {"cifar10": "CIFAR-10", "synthetic": "synthetic data"}.get(name, name)
    kind = ", ".join(filter(None, [page.runs[0].schedule, page.runs[0].variant]))
    title = f"Plain and residual networks on {data}, schedule {kind}"
    heading = title + ": probes and interventions" * bool(page.why.kinds)
    shown = list(dict.fromkeys([*page.runs, *page.why.runs]))
    report = _render(
        **vars(page),
        title=heading,
        suffix=suffix,
        facts=facts(shown),
        rows=[run_row(r) | {"network": key} for key, rs in named(shown).items() for r in rs],
        commits=sorted({commit for run in shown for commit, _ in run.code}),
    )
    about = {"title": title, "suffix": suffix, "cifar10": name == "cifar10"}
    about["classes"] = class_errors(page.runs)
    texts = {
        f"report{suffix}.html": _to_html(report, heading, page.pictures),
        f"report{suffix}.md": report,
        f"model_card{suffix}.md": _render(page.runs, page.findings, "model_card", **about),
    }
    for file, text in texts.items():
        write_atomically(out_dir / file, text.encode())
    return [out_dir / file for file in texts]


def section(runs: list[Run], lost: Iterable[Run] = ()) -> str:
    """Tell the README what is recorded on the paper's schedule: verdicts, a figure, errors.

    `runs` are all of that schedule without overrides, as `select` picks them, and `lost` those of
    them that diverged. The report on them lies in `results/recorded/paper/`, with its figures.
    """
    names = {spec["name"] for spec in drawable(read_figures().values(), runs)}
    figure = next((name for name in ("figure6", "figure1") if name in names), None)
    findings = judge(runs)
    tested = [finding for finding in findings if not finding.lacking]
    more = {"headline": headline(findings), "folder": "results/recorded/paper", "figure": figure}
    return _render(runs, tested, brief=True, lost=lost, **more)


def fill(readme: Path, text: str) -> bool:
    """Put `text` between the markers, if the file has them; say whether it has."""
    before = readme.read_bytes().decode() if readme.is_file() else ""
    head, started, rest = before.partition(START)
    _, ended, tail = rest.partition(END)
    after = "".join([head, START, text, END, tail])
    if started and ended and after != before:
        write_atomically(readme, after.encode())
    return bool(started and ended)


def summary_text(runs: list[Run], findings: list[Finding]) -> str:
    """Tell in 100 columns how the networks ended and what became of the claims (`judge`).

    `findings` are what `judge` makes of `runs`. Commands are not broken, so that they can be
    copied.
    """
    console = Console(file=StringIO(), width=WIDTH, color_system=None, force_jupyter=False)
    console.print(Markdown(_render(runs, findings, brief=True)))
    printed = console.file.getvalue().splitlines()
    text = "\n".join(line.rstrip().removeprefix(" ") for line in printed)
    lines = re.sub(r"\n{3,}", "\n\n", text.strip("\n")).splitlines()
    for told, command in _missing(findings):
        lines += ["", *textwrap.wrap(told, WIDTH), *filter(None, [command])]
    return "\n".join(lines)


def _render(runs: list[Run], findings: list[Finding], template: str = "report", **more: Any) -> str:
    """Fill in a template, as a whole with what `write_page` adds, or in brief."""
    errors = final_errors(runs)
    templates = Environment(
        loader=PackageLoader("degradation.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {f.__name__: f for f in (number, points, interval, mean, cell, factor)}
    context = {
        "brief": False,
        "folder": "",
        "figure": None,
        "lost": (),
        "first": runs[0],
        "headline": headline(findings),
        "caveats": caveats(runs),
        "findings": findings,
        "missing": _missing(findings),
        "errors": errors,
        "measured": runs[0].measured,
        "words": WORDS,
        "paper": any(row["paper"] for row in errors),
        "beside_paper": compare_with_paper(runs),
        "how_made": f"{how_made(runs)} {machines(runs)}",
    }
    markdown = templates.get_template(f"{template}.md.j2").render(context | more)
    return re.sub(r"\n{3,}", "\n\n", markdown.strip("\n")) + "\n"


def _missing(findings: list[Finding]) -> list[tuple[str, str]]:
    """Pair what claims lack with the command that trains it; "" if none could."""
    lacking = [finding for finding in findings if finding.lacking]
    told = []
    for command in dict.fromkeys(finding.command for finding in lacking):
        known = [finding for finding in lacking if finding.command == command]
        models = ", ".join(dict.fromkeys(m for finding in known for m in finding.lacking))
        claims = f"claim{'s' * (len(known) > 1)} " + ", ".join(str(f.number) for f in known)
        told.append((f"No finished run of {models} for {claims}", command))
    return told


def _to_html(markdown: str, title: str, pictures: list[Picture]) -> str:
    """Render a page for a browser: verdicts as badges, figures inside, with their captions."""
    remaining = iter(pictures)

    def figure(found: re.Match) -> str:
        picture = next(remaining)
        data = base64.b64encode(picture.svg.read_bytes()).decode()
        image = f'<img src="data:image/svg+xml;base64,{data}" alt="{found[1]}">'
        return f"<figure>{image}<figcaption>{escape(picture.caption)}</figcaption></figure>"

    def badge(found: re.Match) -> str:
        tone = "good" if found[1] in GOOD else "bad" if found[1] in BAD else "open"
        return f'<span class="verdict {tone}">{found[1]}</span></td>'

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = re.sub(r'<p><img src=".+?" alt="(.*?)" ?/?></p>', figure, body)
    body = re.sub(r"<strong>([^<]+)</strong></td>", badge, body)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return HTML.format(title=escape(title), style=style, body=body)


def number(value: float | None, form: str = ".2f") -> str:
    """Write a number, as a rule with two decimals; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:{form}}".replace("-", "−")


def points(value: float | None) -> str:
    """Write a difference with its sign: +0.52, −1.10, never −0.00."""
    return number(value, "+z.2f")


def interval(difference: Difference) -> str:
    """Write the 95 % interval of a difference; a dash where there is none."""
    low, high = difference.low, difference.high
    return "–" if low is None else f"{points(low)} to {points(high)}"


def mean(errors: pd.Series) -> str:
    """Write the mean over seeds, and of several their standard deviation: 8.75 ± 0.16."""
    spread = f" ± {errors.std():.2f}" if len(errors) > 1 else ""
    return number(errors.mean()) + spread


def cell(text: Any) -> str:
    """Write a text so that it stays in its cell of a Markdown table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;")
