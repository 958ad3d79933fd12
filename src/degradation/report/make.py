"""From a setting to its report: which runs, which figures, what is left out, what makes them."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from degradation.config import ROOT, RUNS, command_line, read_figures, relative
from degradation.errors import UserError
from degradation.output import say
from degradation.records.files import faults_as_user_errors
from degradation.report.claims import GOOD, RUNS_MISSING, judge
from degradation.report.comparison import compare, compare_precisions
from degradation.report.export import write_export
from degradation.report.figures import draw_pictures, drawable
from degradation.report.page import Page, fill, section, summary_text, write_page
from degradation.report.runs import Run, by_network, drawn, find_runs, models_of, pick
from degradation.schema import show
from degradation.setting import Setting

RECORDED = ROOT / "results" / "recorded"
README = ROOT / "README.md"
LISTED = 5  # kinds of runs that there are, at most


@dataclass(frozen=True)
class Request:
    """What a report is asked for: the runs of a setting below `folder`, whatever their networks.

    `setting` has their schedule and overrides. Without `seeds` all count. `figure`, as a file of
    `conf/figure/`, must be in the report; `figure_overrides` made it of its file. `runtime` is the
    option that the commands of the report choose.
    """

    setting: Setting
    folder: Path
    seeds: list[int] | None = None
    figure: dict[str, Any] | None = None
    figure_overrides: list[str] = field(default_factory=list)
    runtime: str = "cpu"

    @property
    def overrides(self) -> list[str]:
        """What makes the runs, beside network, schedule and seed."""
        runtime = [f"runtime={self.runtime}"] if self.runtime != "cpu" else []
        return [*runtime, *self.setting.overrides]

    def command(self, name: str, *words: str, seeds: Iterable[int]) -> str:
        """The command line `name` with these words, for runs of this kind with these seeds."""
        kind = f"schedule={self.setting.schedule}", f"seeds={show(sorted(seeds))}"
        return command_line(name, *words, *kind, *self.overrides)

    def run(self, model: str, seeds: Iterable[int]) -> str:
        """The command line that trains one network with these seeds."""
        numbers = ",".join(map(str, sorted(seeds)))
        words = [f"model={model}", f"schedule={self.setting.schedule}", f"seed={numbers}"]
        return command_line("run", *["-m"] * ("," in numbers), *words, *self.overrides)

    def drawing(self, name: str) -> list[str]:
        """The words that choose a figure; of the one that was asked for, with its overrides."""
        own = self.figure is not None and name == self.figure["name"]
        return [f"figure={name}", *(self.figure_overrides if own else [])]


def write_report(asked: Request) -> Page:
    """Write a report, print how the runs ended and what was written, return what it tells.

    Every figure is drawn as far as there are runs. The report lies beside the runs of the schedule;
    one on all that is recorded on a schedule fills its section of the README. Raises `UserError`,
    which says what trains them, if there are no runs, or if the figure lacks some.
    """
    unfinished: list[tuple[Path, str]] = []
    found = find_runs(asked.folder, lambda *run: unfinished.append(run))
    schedule, variant = asked.setting.schedule, asked.setting.variant
    runs = pick(found, schedule, asked.seeds, variant)
    _check_nothing_missing(asked, runs, found)
    # A folder of one schedule alone has its report right in it.
    inside = asked.folder.name == schedule and any(r.path.parents[1] == asked.folder for r in runs)
    out_dir = asked.folder if inside else asked.folder / schedule
    left_out = _tell_left_out(asked, found, unfinished, out_dir)
    kind = asked.setting.variant_without("precision")
    of_any_precision = [
        run
        for run in found
        if (run.schedule, run.setting.variant_without("precision")) == (schedule, kind)
        and (asked.seeds is None or run.seed in asked.seeds)
    ]

    figures = read_figures()
    if asked.figure:
        figures[asked.figure["name"]] = asked.figure
    whole, parts = drawable([figures[name] for name in sorted(figures)], runs)
    suffix = f",{variant}" if variant else ""
    with faults_as_user_errors(f"cannot make the folder {out_dir}"):
        out_dir.mkdir(parents=True, exist_ok=True)
    page = Page(
        runs=runs,
        findings=judge(runs),
        pictures=draw_pictures([*whole, *parts], runs, out_dir, suffix),
        comparisons=compare(runs, find_runs(RECORDED)),
        commands=_commands(asked, whole, runs),
        agreements=compare_precisions(of_any_precision),
        left_out=left_out,
    )
    paths = [*write_page(page, out_dir, f"report{suffix}"), *write_export(runs, out_dir, suffix)]
    say(f"\n{summary_text(runs, page.findings)}\n")
    for picture in page.pictures:
        say(f"figure    {relative(picture.png)} and {picture.svg.name}")
    say(f"report    {relative(paths[0])}, {', '.join(path.name for path in paths[1:])}")
    all_recorded = out_dir == RECORDED / schedule and not suffix and asked.seeds is None
    if all_recorded and fill(README, schedule, section(schedule, runs)):
        say(f"readme    {README.name}, what it has between the markers of {schedule}")
    return page


def check_claims(page: Page, figure: dict[str, Any] | None = None) -> None:
    """Raise `UserError` (exit code 1) for claims that did not come out.

    With a figure those count that its own networks can answer.
    """
    findings, passed = page.findings, GOOD
    if figure:
        findings = judge([run for run in page.runs if run.model in drawn(figure)])
        passed += (RUNS_MISSING,)
    if failed := [f"{f.number} ({f.verdict})" for f in findings if f.verdict not in passed]:
        told = f"strict=true: claims that did not come out: {', '.join(failed)}"
        raise UserError(told, exit_code=1)


def _check_nothing_missing(asked: Request, runs: list[Run], found: list[Run]) -> None:
    """Raise `UserError` if there are no `runs`, or not all that the figure needs."""
    setting, figure, lacking = asked.setting, asked.figure, "no finished run"
    seeds = asked.seeds or [0]
    if figure:
        models, there = models_of(figure), {(run.model, run.seed) for run in runs}
        seeds = asked.seeds or sorted({seed for model, seed in there if model in models}) or [0]
        absent = [f"{m} seed {s}" for s in seeds for m in models if (m, s) not in there]
        if not absent:
            return
        lacking = f"figure={figure['name']}: {lacking} of {', '.join(absent)}"
        training = asked.command("reproduce", *asked.drawing(figure["name"]), seeds=seeds)
    elif runs:
        return
    elif any(override.startswith("model.") for override in asked.overrides):
        training = asked.run(setting.model, seeds)  # not every network of a figure has such a key
    else:
        training = asked.command("reproduce", "figure=figure1", seeds=seeds)
    kind = f"schedule={setting.schedule}" + (f" with {setting.variant}" if setting.variant else "")
    place = "" if asked.folder == RUNS else f" in {relative(RUNS)}"
    others = "" if runs else _others(found)
    raise UserError(
        f"{lacking} on {kind} in {relative(asked.folder)}; to train{place}: {training}{others}"
    )


def _others(found: list[Run]) -> str:
    """Say which runs there are, by the arguments that report on them; "" if there are none."""
    kinds: dict[tuple[str, ...], set[int]] = {}
    for run in found:
        words = (f"schedule={run.schedule}", *run.setting.overrides)
        kinds.setdefault(words, set()).add(run.seed)
    told = [shlex.join([*w, f"seeds={show(sorted(seeds))}"]) for w, seeds in sorted(kinds.items())]
    more = [f"{len(told) - LISTED} kinds more"] * (len(told) > LISTED)
    return f"; there are runs for {'; '.join([*told[:LISTED], *more])}" if told else ""


def _tell_left_out(
    asked: Request, found: list[Run], unfinished: list[tuple[Path, str]], out_dir: Path
) -> list[tuple[str, str]]:
    """Print which runs and seeds are not in the report; give unfinished runs and the reasons."""
    setting, left_out = asked.setting, []
    for path, reason in unfinished:
        model, _, variant = path.parent.name.partition(",")
        alike = path.parents[1] == out_dir and variant == setting.variant
        if alike and (asked.figure is None or model in drawn(asked.figure)):
            say(f"left out  {relative(path)}: {reason}")
            left_out.append((f"{path.parent.name}/{path.name}", reason))
    if asked.seeds:
        kind, wanted = (setting.schedule, setting.variant), set(asked.seeds)
        there = {run.seed for run in found if (run.schedule, run.variant) == kind}
        if there - wanted:
            reason = f"finished, not among seeds={show(asked.seeds)}"
            say(f"left out  seeds {show(sorted(there - wanted))}: {reason}")
        if wanted - there:
            say(f"missing   seeds {show(sorted(wanted - there))}: no finished run")
    return left_out


def _commands(
    asked: Request, figures: list[dict[str, Any]], runs: list[Run]
) -> list[tuple[str, str]]:
    """Pair the figures, the networks of none of them, and the report with what makes each."""
    commands, others = [], by_network(runs)
    for spec in figures:
        models = models_of(spec)
        seeds = {run.seed for run in runs if run.model in models}
        command = asked.command("reproduce", *asked.drawing(spec["name"]), seeds=seeds)
        commands.append((spec["title"], command))
        others = {network: g for network, g in others.items() if g[0].model not in models}
    for network, group in others.items():
        commands.append((network, asked.run(group[0].model, [run.seed for run in group])))
    words = [f"runs={relative(asked.folder)}"]
    # The figure says which networks have a model's key; its overrides, what it draws.
    of_a_figure = any(o.startswith("model.") for o in asked.overrides) or asked.figure_overrides
    if asked.figure and of_a_figure:
        words = [*asked.drawing(asked.figure["name"]), *words]
    alone = asked.command("report", *words, seeds={run.seed for run in runs})
    return [*commands, ("This report, without training", alone)]
