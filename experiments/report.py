"""Report on runs that are there, figures, tables and verdict: `python -m experiments.report`.

From your own runs, or with `runs=results/recorded` from the recorded ones, whose section of the
README is filled then; nothing is trained.
Overrides that the runs were trained with (`data=synthetic`) name them here too.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from degradation.config import (
    ROOT,
    command_line,
    folder_of,
    option_values,
    options,
    read_figures,
    relative,
    validate,
)
from degradation.errors import UserError
from degradation.output import say
from degradation.report import (
    Page,
    Run,
    compare,
    compare_precisions,
    draw_pictures,
    drawable,
    drawn,
    find_runs,
    judge,
    models_of,
    of_any_precision,
    pick,
    schedule_folder,
    summary_text,
    write_export,
    write_page,
)
from degradation.report.claims import GOOD, RUNS_MISSING
from degradation.report.page import fill, section
from degradation.schema import Configuration, show
from degradation.setting import Setting
from experiments.command import command
from experiments.compose import Job, compose, key_of
from experiments.missing_runs import check_found

DECIDED = ("model", "model.name", "model.depth", "seed", "run_dir")
RECORDED = ROOT / "results" / "recorded"
README = ROOT / "README.md"


def report(config: DictConfig, folder: Path, overrides: list[str]) -> Page:
    """Write the report on runs below `folder`, print how they ended, return what it tells.

    The runs are those of the schedule, the seeds (null: all) and the overrides of `config`; every
    figure is drawn as far as there are runs. It lies beside the runs of the schedule. Raises
    `UserError`, and says which command trains them, if there are none, or if some are missing that
    `config.figure` needs.
    """
    left_out: list[tuple[Path, str]] = []
    found = find_runs(folder, lambda *skipped: left_out.append(skipped))
    changes, runs = pick_runs(config, found)
    suffix = f",{changes}" if changes else ""
    changed, drawn_by = _of_runs(config), _of_figure(overrides)
    seeds = config.seeds and list(config.seeds)
    check_found(config, folder, changes, [*drawn_by, *changed], runs, found)
    out_dir = schedule_folder(folder, runs)
    unfinished = _unfinished(config, changes, out_dir, left_out)
    _name_other_seeds(seeds, runs, found)

    whole, parts = drawable(_figures(config), runs)
    page = Page(
        runs=runs,
        findings=judge(runs),
        pictures=draw_pictures([*whole, *parts], runs, out_dir, suffix),
        comparisons=compare(runs, find_runs(RECORDED)),
        commands=_commands(config, folder, changed, drawn_by, whole, runs),
        agreements=compare_precisions(of_any_precision(runs[0], found, seeds)),
        left_out=unfinished,
    )
    paths = [*write_page(page, out_dir, f"report{suffix}"), *write_export(runs, out_dir, suffix)]
    say(f"\n{summary_text(runs, page.findings)}\n")
    for picture in page.pictures:
        say(f"figure    {relative(picture.png)} and {picture.svg.name}")
    say(f"report    {relative(paths[0])}, {', '.join(path.name for path in paths[1:])}")
    schedule = runs[0].schedule
    whole_schedule = not suffix and seeds is None and out_dir == RECORDED / schedule
    if whole_schedule and fill(README, schedule, section(schedule, runs)):
        say(f"readme    {README.name}, what it has between the markers of {schedule}")
    return page


def pick_runs(config: DictConfig, found: list[Run]) -> tuple[str, list[Run]]:
    """Pick the runs that `config` asks for; the overrides that they share, as folders name them.

    Raises `UserError` if one of them is there twice.
    """
    setting = Setting.of(_validate(config))
    seeds = config.seeds and list(config.seeds)
    return setting.variant, pick(found, setting.schedule, seeds, setting.variant)


def _unfinished(
    config: DictConfig, changes: str, out_dir: Path, left_out: list[tuple[Path, str]]
) -> list[tuple[str, str]]:
    """Say which runs would be in the report, were they finished, and why they are not."""
    told = []
    for path, why in left_out:
        model, _, overrides = path.parent.name.partition(",")
        alike = path.parents[1] == out_dir and overrides == changes
        if alike and (config.figure is None or model in drawn(config.figure)):
            say(f"left out  {relative(path)}: {why}")
            told.append((f"{path.parent.name}/{path.name}", why))
    return told


def _name_other_seeds(seeds: list[int] | None, runs: list[Run], found: list[Run]) -> None:
    """Say which seeds there are that were not asked for, and which were asked for in vain."""
    if seeds is None:
        return
    alike = of_any_precision(runs[0], found)
    there = {run.seed for run in alike if run.precision == runs[0].precision}
    told = {
        "left out": (there - set(seeds), f"finished, not among seeds={show(seeds)}"),
        "missing": (set(seeds) - {run.seed for run in runs}, "no finished run"),
    }
    for word, (which, why) in told.items():
        if which:
            numbers = ", ".join(map(str, sorted(which)))
            say(f"{word:<10}seed{'s' * (len(which) > 1)} {numbers}: {why}")


def _figures(config: DictConfig) -> list[dict[str, Any]]:
    """Read the figures of conf/figure/; of `config.figure` what the command line made of it."""
    specs = read_figures()
    if config.figure:
        specs[config.figure.name] = OmegaConf.to_container(config.figure)
    return [specs[name] for name in sorted(specs)]


def _commands(
    config: DictConfig,
    folder: Path,
    changed: list[str],
    drawn_by: list[str],
    figures: list[dict[str, Any]],
    runs: list[Run],
) -> list[tuple[str, str]]:
    """Pair `figures`, the runs of none of them, and the report with what makes each.

    `changed` are overrides of the runs, `drawn_by` those of `config.figure`.
    """

    def seeds(models: Iterable[str]) -> list[int]:
        return sorted({run.seed for run in runs if run.model in models})

    def line(name: str, models: list[str], *words: str) -> str:
        words = (*words, f"schedule={config.schedule.name}", f"seeds={show(seeds(models))}")
        return command_line(name, *words, *changed)

    def figure(name: str) -> list[str]:
        own = config.figure is not None and name == config.figure.name
        return [f"figure={name}", *(drawn_by if own else [])]

    commands = [
        (spec["title"], line("reproduce", models_of(spec), *figure(spec["name"])))
        for spec in figures
    ]
    trained = {model for spec in figures for model in models_of(spec)}
    rest: dict[str, list[str]] = {}  # networks of no figure, by their seeds
    for model in dict.fromkeys(run.model for run in runs if run.model not in trained):
        rest.setdefault(",".join(map(str, seeds([model]))), []).append(model)
    for numbers, models in rest.items():
        sweep = f"model={','.join(models)}", f"seed={numbers}"
        flag = ["-m"] if any("," in word for word in sweep) else []
        words = [*flag, *sweep, f"schedule={config.schedule.name}", *changed]
        networks = ", ".join(dict.fromkeys(run.network for run in runs if run.model in models))
        commands.append((networks, command_line("run", *words)))
    words = [f"runs={relative(folder)}"]
    # Which networks have a model's key, the figure says; what it draws instead, its overrides.
    if config.figure and (drawn_by or any(o.startswith("model.") for o in changed)):
        words = [*figure(config.figure.name), *words]
    alone = line("report", [run.model for run in runs], *words)
    return [*commands, ("This report, without training", alone)]


def _of_runs(config: DictConfig) -> list[str]:
    """Overrides that make the runs that `config` asks for; on a GPU if it names one."""
    gpu = ["runtime=gpu"] if config.runtime.name == "gpu" else []
    return gpu + Setting.of(_validate(config)).overrides


def _of_figure(overrides: list[str]) -> list[str]:
    """Overrides that make another figure; of several values for a key the last, as Hydra has it."""
    last = {key_of(o): o for o in overrides if key_of(o).startswith("figure.")}
    return list(last.values())


def refuse_decided(overrides: list[str]) -> None:
    """Raise `UserError` for an override of what figures decide: networks, seeds, folders."""
    for override in overrides:
        if key_of(override) in DECIDED:
            raise UserError(f"{override}: decided by the figure; allowed: figure= and seeds=")


def imply_network(overrides: list[str]) -> list[str]:
    """Choose a network that has every `model.KEY=`: of figure= the first; else any, at need."""
    keys = {key for override in overrides if (key := key_of(override)).startswith("model.")}
    if not keys:
        return []
    figure = next((o.partition("=")[2] for o in reversed(overrides) if o.startswith("figure=")), "")
    if figure in options("figure"):
        return [f"model={models_of(read_figures()[figure])[0]}"]
    fit = [name for name in options("model") if keys <= option_values("model", name).keys()]
    return [f"model={fit[0]}"] if fit and compose("config", []).model.name not in fit else []


def check(job: Job) -> None:
    """Check the values of a report, which may do without `figure`, and the figures there are."""
    refuse_decided(job.overrides)
    read_figures()
    _validate(job.config)


def _validate(config: DictConfig) -> Configuration:
    """Check the values of a report, which may do without `figure`."""
    keys = [key for key in config if key != "figure" or config.figure is not None]
    return validate(OmegaConf.masked_copy(config, keys))


def start(job: Job) -> None:
    """Write the report of a job; with `strict=true` a claim that did not come out ends it.

    With a figure those count that its own networks, which all have runs then, can answer.
    """
    page = report(job.config, folder_of("runs", job.config.runs, ROOT), job.overrides)
    if not job.config.strict:
        return
    findings, passed = page.findings, GOOD
    if figure := job.config.figure:
        findings = judge([run for run in page.runs if run.model in drawn(figure)])
        passed += (RUNS_MISSING,)
    failed = [finding for finding in findings if finding.verdict not in passed]
    if failed:
        told = ", ".join(f"{finding.number} ({finding.verdict})" for finding in failed)
        raise UserError(f"strict=true: claims that did not come out: {told}", exit_code=1)


if __name__ == "__main__":
    sys.exit(command("report", check, start, imply_network))
