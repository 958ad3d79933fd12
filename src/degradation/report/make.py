"""From a setting to its report: which runs, which figures, what is left out, what makes them."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from degradation.config import RECORDED, RUNS, check_models, command_line, read_figures, shown
from degradation.errors import UserError
from degradation.output import complain, say
from degradation.records.files import faults_as_user_errors
from degradation.report.claims import GOOD, RUNS_MISSING, judge
from degradation.report.comparison import compare, compare_precisions
from degradation.report.export import write_export
from degradation.report.figures import draw_pictures, drawable, write_picture
from degradation.report.page import README, Page, fill, section, summary_text, write_page
from degradation.report.runs import (
    WHY,
    LeftOut,
    Run,
    drawn,
    find_runs,
    models_of,
    read_runs,
    select,
)
from degradation.report.why import build_why, tell
from degradation.schema import show
from degradation.setting import Setting

LISTED = 5  # kinds of runs that there are, at most


@dataclass(frozen=True)
class Request:
    """What a report is asked for: the runs of a setting below `folder`, whatever their networks.

    `setting` has their schedule and overrides. Without `seeds` all count. `figure`, as
    `read_figures` gives one, must be in the report; `figure_overrides` made it of its file.
    `runtime` is the option that the commands of the report choose.
    """

    setting: Setting
    folder: Path
    seeds: Sequence[int] | None = None
    figure: dict[str, Any] | None = None
    figure_overrides: list[str] = field(default_factory=list)
    runtime: str = "cpu"

    def wanted(self, runs: Iterable[Run]) -> list[Run]:
        """Those of `runs` whose seeds it asks for."""
        return [run for run in runs if self.seeds is None or run.seed in self.seeds]

    def command(self, name: str, *words: str, seeds: str) -> str:
        """The command line `name` with these words, for runs of this kind; `seeds` chooses some."""
        runtime = [f"runtime={self.runtime}"] if self.runtime != "cpu" else []
        kind = f"schedule={self.setting.schedule}", seeds, *runtime, *self.setting.overrides
        return command_line(name, *words, *kind)


def write_report(asked: Request) -> Page:
    """Write a report, print how the runs ended and what was written, return what it tells.

    Every figure is drawn as far as there are runs. The report lies beside the runs of the schedule;
    one on all that is recorded on the paper's fills the README's section on it. Raises `UserError`,
    which says what trains them, if there are no runs, or if the figure lacks some.
    """
    if asked.folder.name == asked.setting.schedule and asked.folder.parent.name == WHY:
        asked = replace(asked, folder=asked.folder.parent)  # whose report is about all schedules
    found, others = read_runs(asked.folder)
    ended = asked.wanted(_ended(found, others))
    finished = [run for run in ended if not run.diverged]
    schedule, variant = asked.setting.schedule, asked.setting.variant
    runs = select(finished, schedule, variant)
    kind = schedule, asked.setting.variant_without("precision")
    alike = [r for r in finished if (r.schedule, r.setting.variant_without("precision")) == kind]
    _check_nothing_missing(asked, runs, found, others)
    # A folder of one schedule alone has its report right in it.
    inside = asked.folder.name == schedule and any(r.path.parents[1] == asked.folder for r in runs)
    out_dir = asked.folder if inside else asked.folder / schedule
    left_out = _tell_left_out(asked, found, others)

    figures = read_figures()
    if asked.figure:
        figures[asked.figure["name"]] = asked.figure
    possible = drawable(figures.values(), runs)
    if asked.figure and asked.figure not in possible:
        name = asked.figure["name"]
        complain(f"warning: figure={name} is not drawn: not all of its runs have responses")
    # Other schedules have their runs without intervention in the folder around.
    in_why = asked.folder.name == WHY
    around = _ended(*read_runs(asked.folder.parent)) if in_why else []
    why = tell(runs, ended, [*ended, *asked.wanted(around)])
    # The recorded runs for why are set beside those that they repeat, all others beside both.
    beside = [RECORDED] if asked.folder == RECORDED / WHY else [RECORDED, RECORDED / WHY]
    recorded = [run for folder in beside for run in find_runs(folder)]
    lost = [r for r in ended if r.diverged and (r.schedule, r.variant) == (schedule, variant)]
    agreements, own = compare_precisions(alike), {(run.model, run.seed) for run in runs}
    twins = [run for run in alike if (run.model, run.seed) in own] if agreements else []
    suffix = f",{variant}" if variant else ""
    with faults_as_user_errors(f"cannot make the folder {out_dir}"):
        out_dir.mkdir(parents=True, exist_ok=True)
    pictures = draw_pictures(possible, runs, out_dir, suffix)
    for name, drawing in build_why(why, runs).items():
        pictures.append(write_picture(drawing, out_dir / f"{name}{suffix}"))
    page = Page(
        runs=runs,
        findings=[f for f in judge(runs, lost) if not (in_why and f.lacking)],
        pictures=pictures,
        comparisons=compare(runs, recorded),
        commands=_commands(asked, [*runs, *lost, *why.runs, *twins]),
        lost=lost,
        agreements=agreements,
        left_out=left_out,
        why=why,
    )
    paths = [*write_page(page, out_dir, suffix), *write_export(runs, out_dir, suffix)]
    say(f"\n{summary_text(runs, page.findings)}\n")
    for picture in page.pictures:
        say(f"figure    {shown(picture.png)} and {picture.svg.name}")
    say(f"report    {shown(paths[0])}, {', '.join(path.name for path in paths[1:])}")
    whole = out_dir == RECORDED / "paper" and not (suffix or asked.seeds or asked.figure_overrides)
    if whole and fill(README, section(runs, lost)):
        say(f"readme    {README.name}, what it has between its markers")
    return page


def _ended(found: list[Run], others: list[LeftOut]) -> list[Run]:
    """The finished runs, then of the others those that diverged, and were not trained again."""
    known = {run.setting for run in found}
    lost = [run for _, _, run in others if run and run.diverged and run.setting not in known]
    return [*found, *lost]


def check_claims(page: Page, figure: dict[str, Any] | None = None) -> None:
    """Raise `UserError` (exit code 1) for claims that did not come out.

    With a figure those count that its own networks can answer. It fails, too, if none was judged.
    """
    findings, passed = page.findings, GOOD
    if figure:
        findings = judge([run for run in page.runs if run.model in drawn(figure)])
        passed += (RUNS_MISSING,)
    if failed := [f"{f.number} ({f.verdict})" for f in findings if f.verdict not in passed]:
        told = f"strict=true: claims that did not come out: {', '.join(failed)}"
        raise UserError(told, exit_code=1)
    if not any(finding.verdict in GOOD for finding in findings):
        raise UserError("strict=true: no claim could be judged", exit_code=1)


def _check_nothing_missing(
    asked: Request, runs: list[Run], found: list[Run], others: list[LeftOut]
) -> None:
    """Raise `UserError` if there are no `runs`, or not all that the figure needs.

    The error says what is wrong with those that are there, and has the command that trains them.
    For a network without a file in `conf/model/`, which none could train, it says that there is no
    such network.
    """
    setting, figure, lacking = asked.setting, asked.figure, "no finished run"
    needed, there = models_of(figure) if figure else [], {(run.model, run.seed) for run in runs}
    seeds = asked.seeds or sorted({seed for model, seed in there if model in needed}) or [0]
    reasons = {
        (run.model, run.seed): f" ({reason})"
        for _, reason, run in others
        if run and (run.schedule, run.variant) == (setting.schedule, setting.variant)
    }
    absent = [pair for pair in product(needed, seeds) if pair not in there]
    if runs and not absent:
        return
    if figure:
        check_models("figure.panels", needed)
        told = [f"{model} seed {seed}{reasons.get((model, seed), '')}" for model, seed in absent]
        lacking = f"figure={figure['name']}: {lacking} of {', '.join(told)}"
    elif reasons:
        lacking += f", but {', '.join(f'{m} seed {s}{r}' for (m, s), r in reasons.items())},"
    if not figure and any(override.startswith("model.") for override in setting.overrides):
        training = _training(asked, [setting.model], seeds)  # of a figure, not all have such a key
    else:
        words = f"figure={figure['name'] if figure else 'figure1'}", *asked.figure_overrides
        training = asked.command("reproduce", *words, seeds=f"seeds={show(sorted(seeds))}")
    kind = f"schedule={setting.schedule}" + (f" with {setting.variant}" if setting.variant else "")
    place = "" if asked.folder == RUNS else f" in {shown(RUNS)}"
    there_are = "" if runs else _others(found)
    raise UserError(
        f"{lacking} on {kind} in {shown(asked.folder)}; to train{place}: {training}{there_are}"
    )


def _others(found: list[Run]) -> str:
    """Say which runs there are, by the arguments that report on them; "" if there are none."""
    kinds: dict[tuple[str, ...], set[int]] = {}
    for run in found:
        words = (f"schedule={run.schedule}", *run.setting.overrides)
        kinds.setdefault(words, set()).add(run.seed)
    told = [shlex.join([*w, f"seeds={show(sorted(seeds))}"]) for w, seeds in sorted(kinds.items())]
    more = [f"kinds more: {len(told) - LISTED}"] * (len(told) > LISTED)
    return f"; there are runs for {'; '.join([*told[:LISTED], *more])}" if told else ""


def _tell_left_out(
    asked: Request, found: list[Run], others: list[LeftOut]
) -> list[tuple[str, str]]:
    """Print which runs and seeds are not in the report; give unfinished runs and the reasons.

    Those of another schedule or variant are no part of it; of those whose files do not tell, each
    might be.
    """
    kind, left_out = (asked.setting.schedule, asked.setting.variant), []
    for path, reason, run in others:
        if run is None or (run.schedule, run.variant) == kind:
            place = path.relative_to(asked.folder).as_posix()
            say(f"left out  {shown(asked.folder)}/{place}: {reason}")
            left_out.append((place, reason))
    if asked.seeds:
        wanted = set(asked.seeds)
        there = {run.seed for run in found if (run.schedule, run.variant) == kind}
        if more := sorted(there - wanted):
            say(f"left out  seeds {show(more)}: finished, not among seeds={show(asked.seeds)}")
        if absent := sorted(wanted - there):
            say(f"missing   seeds {show(absent)}: no finished run")
    return left_out


def _commands(asked: Request, runs: list[Run]) -> list[str]:
    """List what trains `runs` again, networks of a kind with the same seeds at once; their report.

    What is trained lies in results/runs, and the report is on that. Runs for why are trained
    by their plan; those of the folder around, which it lacks, come before it.
    """
    planned = asked.folder.name == WHY
    if planned:
        runs = [run for run in runs if not run.path.is_relative_to(asked.folder)]
    networks: dict[tuple[str, ...], list[Run]] = {}
    for run in dict.fromkeys(runs):
        kind = run.schedule, run.variant, run.config["runtime"]["name"], run.model
        networks.setdefault(kind, []).append(run)
    sweeps: dict[tuple[Any, ...], list[Run]] = {}
    for (*kind, _), group in networks.items():
        # A probe is no part of a setting, since it changes no run; the report would miss it.
        probed = any(not run.probe.empty for run in group)
        sweeps.setdefault((*kind, probed, *sorted({r.seed for r in group})), []).append(group[0])
    commands = []
    for (_, _, runtime, probed, *seeds), firsts in sweeps.items():
        of_kind = replace(asked, setting=firsts[0].setting, runtime=runtime)
        models = [run.model for run in firsts]
        commands.append(_training(of_kind, models, seeds, *["probe=layers"] * probed))
    if planned:
        return [*commands, "make reproduce-why"]
    words = [f"figure={asked.figure['name']}"] if asked.figure_overrides else []
    seeds = f"seeds={show(sorted({run.seed for run in runs}))}"
    return [*commands, asked.command("report", *words, *asked.figure_overrides, seeds=seeds)]


def _training(asked: Request, models: Iterable[str], seeds: Iterable[int], *words: str) -> str:
    """Give the command that trains each of `models` with each of `seeds`."""
    model, seed = f"model={','.join(models)}", f"seed={','.join(map(str, sorted(seeds)))}"
    sweep = ["-m"] if "," in model + seed else []
    return asked.command("run", *sweep, model, *words, seeds=seed)
