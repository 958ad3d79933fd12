"""The README's sections on the recorded runs: made from these alone, put between its markers."""

from pathlib import Path

from degradation.config import read_figures
from degradation.records.files import write_atomically
from degradation.report.caption import provenance
from degradation.report.claims import judge
from degradation.report.curves import drawable
from degradation.report.page import environment
from degradation.report.paper_check import check_against_paper
from degradation.report.provenance import facts
from degradation.report.runs import Run
from degradation.report.summary import final_errors
from degradation.report.verdict import UNTESTED, headline

START, END = "<!-- recorded: {} -->\n", "<!-- end: {} -->"


def section(schedule: str, runs: list[Run]) -> str:
    """Tell what is recorded on a schedule: verdicts, a figure, final errors, how near the paper.

    `runs` are all of the schedule without overrides, as `pick` picks them. The report on them lies
    in `results/recorded/<schedule>/`, with its figures.
    """
    folder = f"results/recorded/{schedule}"
    if not runs:
        return f"Nothing is recorded in `{folder}` yet.\n"
    findings, errors = judge(runs), final_errors(runs)
    figures = {spec["name"] for specs in drawable(read_figures().values(), runs) for spec in specs}
    machines = [fact for fact in facts(runs) if fact.what == "Machine"]
    template = environment().get_template("readme.md.j2")
    return template.render(
        schedule=schedule,
        folder=folder,
        headline=headline(findings),
        findings=[finding for finding in findings if finding.verdict not in UNTESTED],
        figure=next((name for name in ("figure6", "figure1") if name in figures), None),
        errors=errors.to_dict("records"),
        has_paper=bool(errors["paper"].notna().any()),
        paper_sources=sorted(set(errors["paper_source"]) - {""}),
        unseen=runs[0].measured,
        provenance=provenance(runs),
        machines=[f"{m.value} ({m.runs})" if m.runs else m.value for m in machines],
        checks=check_against_paper(runs).to_dict("records"),
    )


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
