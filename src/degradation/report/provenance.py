"""How runs were made, beside what the paper did, and what they cannot show."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from statistics import fmean
from typing import Any

from degradation.report.runs import PAPER_SCHEDULE, Run
from degradation.setting import PAPER_NETWORKS

EARLY = 7_000  # iterations: until about then ResNet-56 trails ResNet-20 in the paper's own curves
BARELY = 40.0  # percent of training error of a network that has learned little; guessing has 90
COMMIT = 10  # characters of a commit's hash that tell it from others
MANY = 3  # names that are listed; those of most runs, if they are more, are all others
FAR = 15.0  # points between plain networks, whose training errors in the paper differ by 4.5
UNKNOWN = "not recorded"


def facts(runs: list[Run]) -> list[tuple[str, str, str, str]]:
    """Say how runs were made: what, here, the runs that it holds for ("": all), and in the paper.

    The report's template adds what is so for every run of this repository.
    """
    norm_there = (
        "presumably on each of two GPUs, 64 images at a time; constants not stated; "
        "moments for testing averaged, by the authors' later code"
    )
    told: list[tuple[str, Callable[[Run], str], str]] = [
        ("schedule", lambda run: _schedule(run.setting.values), _schedule(PAPER_SCHEDULE)),
        ("settings unlike the paper's", _settings, "none"),
        ("data", lambda run: run.data, "CIFAR-10"),
        ("precision", _precision, "float32"),
        ("machine", _machine, "two GPUs"),
        ("versions", _versions, "not stated"),
        ("weight decay", _decay, "1e-4; on which weights not stated"),
        ("batch normalisation", _norm, norm_there),
    ]
    return [
        (what, value, names, paper)
        for what, tell, paper in told
        for value, names in _sharing(_by_name(tell, runs))
    ]


def named(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs of each network by its name, of other schedules and settings than the first's apart.

    Those have them in brackets: plain-56 (init=dirac).
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        pairs = [(run.schedule, runs[0].schedule), (run.variant, runs[0].variant)]
        unlike = ", ".join(own for own, first in pairs if own and own != first)
        name = f"{run.network} ({unlike})" if unlike else run.network
        groups.setdefault(name, []).append(run)
    return groups


def run_row(run: Run) -> dict[str, Any]:
    """Tell what is one run's own: commits, day, duration, speed, and where it went on."""
    manifest, speed = run.manifest, run.manifest.get("images_per_second")
    seconds = manifest.get("wall_seconds")
    resumes = [
        f"after {resume['iteration']:,}" + (f" ({told})" if (told := _elsewhere(resume)) else "")
        for resume in manifest.get("resumes") or []
    ]
    commits = [commit[:COMMIT] + " with changes" * bool(changed) for commit, changed in run.code]
    return {
        "seed": run.seed,
        "commit": ", ".join(commits) or UNKNOWN,
        "started": (manifest.get("started") or UNKNOWN).split("T")[0],
        "time": UNKNOWN if seconds is None else str(timedelta(seconds=round(seconds))),
        "speed": f"{speed:,.0f}" if speed else UNKNOWN,
        "resumed": "; ".join(resumes) or "–",
    }


def how_made(runs: list[Run], beside: Iterable[Run] = ()) -> str:
    """Name the runs' schedule, data and precision, and settings that are not the paper's.

    Data and precision are also those of other runs `beside` them.
    """
    shown = list(dict.fromkeys([*runs, *beside]))
    told = [
        f"Schedule {runs[0].schedule}: {_schedule(runs[0].setting.values)}.",
        shared("Data", _by_name(lambda run: run.data, shown)),
        shared("Precision", _by_name(lambda run: run.precision, shown)),
    ]
    if any(run.setting.departures for run in runs):
        told.append(shared("Settings unlike the paper's", _by_name(_settings, runs)))
    return " ".join(told)


def machines(runs: list[Run]) -> str:
    """Name the machine that runs were trained on or, of several, their processors and GPUs.

    Which run had which is one of the `facts`.
    """
    whole = {_machine(run) for run in runs}
    if len(whole) == 1:
        return f"Machine: {whole.pop()}."
    names = dict.fromkeys(name for run in runs for name in [*_begun_on(run), *_processors(run)])
    return f"Machines: {'; '.join(names)}."


def shared(what: str, values: Mapping[str, str], joint: str = ", ") -> str:
    """State a value that all names share or, where they do not, each value with its names."""
    told = [f"{value} ({names})" if names else value for value, names in _sharing(values, joint)]
    return f"{what}: {'; '.join(told)}."


def seeds_of(runs: list[Run]) -> str:
    """The seeds of runs as text: 0, 1, 2."""
    return ", ".join(str(seed) for seed in sorted(run.seed for run in runs))


def caveats(runs: list[Run]) -> str:
    """Say what networks or a schedule other than the paper's cannot show; "" for its own."""
    sentences = []
    # One of the paper's that was changed still has its name: its settings are told elsewhere.
    others = (run for run in runs if run.model not in PAPER_NETWORKS)
    if strangers := list(dict.fromkeys(run.network for run in others)):
        names = " or ".join(filter(None, [", ".join(strangers[:-1]), strangers[-1]]))
        sentences.append(f"The paper does not train {names} on CIFAR-10.")
    if len({run.precision for run in runs}) > 1:
        precisions = _by_name(lambda run: run.precision, runs)
        sentences.append(shared("These runs are not all in one precision", precisions))
    known = [run for run in runs if run.model in PAPER_NETWORKS]
    if known and not runs[0].on_paper_schedule:
        sentences += [not_comparable(known[0], "errors"), *_early(known)]
    return " ".join(sentences)


def not_comparable(run: Run, what: str) -> str:
    """Say that errors or responses are of another schedule than the paper's."""
    paper, here = (v["schedule.iterations"] for v in (PAPER_SCHEDULE, run.setting.values))
    how = f"has {paper:,} iterations, this one {here:,}"
    if paper == here:
        how = "drops the learning rate at other iterations"
    return f"The paper's schedule {how}: {what} of the two are not to be compared."


def _early(runs: list[Run]) -> list[str]:
    """Say what the paper's networks cannot show after few iterations."""
    iterations, networks = runs[0].config["schedule"]["iterations"], {run.network for run in runs}
    if iterations >= EARLY or runs[0].config["data"]["name"] != "cifar10":
        return []
    told = []
    deep, shallow = (
        [run.final("train_error") for run in runs if run.network == network]
        for network in ("plain-56", "plain-20")
    )
    if deep and shallow and fmean(deep) > max(BARELY, fmean(shallow) + FAR):
        told.append(
            f"After {iterations:,} iterations plain-56 is far from converged: its gap to plain-20 "
            "is many times the paper's, which is 4.5 points of training error."
        )
    if networks >= {"ResNet-20", "ResNet-56"}:
        told.append(
            "In the paper's own curves ResNet-56 has a higher error than ResNet-20 until about "
            f"{EARLY:,} iterations, so {iterations:,} cannot tell whether it ends lower."
        )
    return told


def _by_name(tell: Callable[[Run], str], runs: list[Run]) -> dict[str, str]:
    """Ask each run; a network whose runs say the same is named alone, others with their seeds."""
    told = {}
    for network, group in named(runs).items():
        alike = len({tell(run) for run in group}) == 1
        for run in group[:1] if alike else group:
            told[network if alike else f"{network} seed {run.seed}"] = tell(run)
    return told


def _sharing(values: Mapping[str, str], joint: str = ", ") -> list[tuple[str, str]]:
    """Pair each value with the names that have it; with "" where all have the same.

    Of more than `MANY` names, those of the commonest value come last, as all others.
    """
    (common, most), *others = Counter(values.values()).most_common()
    if not others:
        return [(common, "")]
    owners = {v: [n for n in values if values[n] == v] for v in dict.fromkeys(values.values())}
    if most > MANY:
        del owners[common]
        owners[common] = ["all others"]
    return [(value, joint.join(names)) for value, names in owners.items()]


def _schedule(values: Mapping[str, Any]) -> str:
    drops = " and ".join(f"{drop:,}" for drop in values["schedule.drops"])
    told = f"{values['schedule.iterations']:,} iterations"
    return told + f", learning rate ÷10 at {drops}" * bool(drops)


def _settings(run: Run) -> str:
    return ", ".join(run.setting.departures) or "none"


def _decay(run: Run) -> str:
    if not run.setting.values["optimizer.weight_decay"]:
        return "none"
    if run.setting.values["optimizer.decay"] == "all":
        return "on all trainable variables"
    return "on the kernels of convolutions and of the dense layer, not on gamma, beta and biases"


def _norm(run: Run) -> str:
    values = run.setting.values
    if values.get("model.norm") == "none":
        return "none"
    images = values["optimizer.ghost_batch"] or values["optimizer.batch"]
    return (
        f"on {images} images at a time; epsilon 1e-5; moments for testing averaged over at most "
        "40 batches of augmented training images"
    )


def _precision(run: Run) -> str:
    if run.precision == "float32":
        return "float32"
    emulated = " (emulated)" * bool(run.manifest.get("emulated"))
    return f"{run.precision}{emulated}; weights, statistics, logits and loss in float32"


def _machine(run: Run) -> str:
    about = run.manifest
    units = {"cores": "cores", "threads": "threads", "memory_gib": "GiB of memory"}
    sizes = [
        f"{about[key]:g} {unit.removesuffix('s') if about[key] == 1 else unit}"
        for key, unit in units.items()
        if about.get(key)
    ]
    begun = f", begun on {', then '.join(changes)}" if (changes := _begun_on(run)) else ""
    return ", ".join([*_processors(run), *sizes]) + begun


def _processors(run: Run) -> list[str]:
    """The GPU, if any, and the processor of the machine that a run ended on."""
    return [*filter(None, map(run.manifest.get, ("gpu", "cpu")))] or [UNKNOWN]


def _begun_on(run: Run) -> list[str]:
    """The processors that a run had before, in turn."""
    notes = "; ".join(map(_elsewhere, run.manifest.get("resumes") or []))
    return re.findall(r"\bcpu: (.+?) → ", notes)


def _elsewhere(resume: Mapping[str, Any]) -> str:
    """Say what had changed when a run went on, but for the commit."""
    notes = (resume.get("note") or "").split("; ")
    return "; ".join(note for note in notes if not note.startswith("git_"))


def _versions(run: Run) -> str:
    packages = run.manifest.get("packages") or {}
    known = [f"{name} {version}" for name, version in packages.items() if version]
    return ", ".join(known) or UNKNOWN
