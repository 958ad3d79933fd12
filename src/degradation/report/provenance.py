"""How runs were made, where that is not what the paper did, and what they cannot show."""

from collections.abc import Callable
from statistics import fmean
from typing import Any

from degradation.report.runs import PAPER_SCHEDULE, Run, by_network

EARLY = 7_000  # iterations: until about then ResNet-56 trails ResNet-20 in the paper's own curves
BARELY = 40.0  # percent of training error of a network that has learned little; guessing has 90
COMMIT = 10  # characters of a commit's hash that tell it from others
NAMES = {
    "python": "Python",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "numpy": "NumPy",
    "hydra-core": "Hydra",
    "wandb": "W&B",
}
UNKNOWN = "not recorded"


def facts(runs: list[Run]) -> list[tuple[str, str, str]]:
    """Say on which data, in which precision, and with which machine and versions runs were made.

    Each fact is a word, the value, and the runs that it holds for, "" being all.
    """
    told: dict[str, Callable[[Run], str]] = {
        "Data": lambda run: run.data,
        "Precision": lambda run: run.precision,
        "Machine": machine,
        "Versions": _versions,
    }
    return [
        (what, value, names) for what, tell in told.items() for value, names in _sharing(tell, runs)
    ]


def run_row(run: Run) -> dict[str, Any]:
    """Tell what is one run's own: commits, day, duration, speed, and how often it was continued."""
    manifest, speed = run.manifest, run.manifest.get("images_per_second")
    commits = [
        state["git_commit"][:COMMIT] + (" with changes" if state["git_dirty"] else "")
        for state in run.code
    ]
    return {
        "network": run.network,
        "seed": run.seed,
        "commit": ", ".join(commits) or UNKNOWN,
        "started": (manifest.get("started") or UNKNOWN).split("T")[0],
        "time": duration(manifest.get("wall_seconds")),
        "speed": f"{speed:,.0f}" if speed else UNKNOWN,
        "resumed": len(manifest.get("resumes") or []),
    }


def duration(seconds: float | None) -> str:
    """Write a duration in its two largest units: 45 s, 43 min, 1 h 54 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def deviations(runs: list[Run]) -> list[tuple[str, str, str]]:
    """List the points in which these runs do not follow the paper: what, the paper's, and here.

    The report's template adds what is so for every run of this repository.
    """

    def schedule(run: Run) -> str:
        return "" if run.on_paper_schedule else _schedule(run.config["schedule"])

    def precision(run: Run) -> str:
        words = f"{run.precision}; weights, statistics, logits and loss in float32"
        return "" if run.precision == "float32" else words

    own: list[tuple[str, str, Callable[[Run], str]]] = [  # what, the paper, here ("": the same)
        ("schedule", _schedule(PAPER_SCHEDULE), schedule),
        ("settings", "as in section 4.2", lambda run: ", ".join(run.departures)),
        ("data", "CIFAR-10", lambda run: "" if run.canonical else run.data),
        ("precision", "float32", precision),
    ]
    return [
        (what, paper, f"{value} ({names})" if names else value)
        for what, paper, tell in own
        for value, names in _sharing(tell, runs)
        if value
    ]


def how_made(runs: list[Run]) -> str:
    """Name the runs' schedule, data and precision, and settings that are not the paper's."""
    told = [
        f"Schedule {runs[0].schedule}: {_schedule(runs[0].config['schedule'])}.",
        shared("Data", lambda run: run.data, runs),
        shared("Precision", lambda run: run.precision, runs),
    ]
    if any(run.departures for run in runs):
        settings = "Settings unlike the paper's"
        told.append(shared(settings, lambda run: ", ".join(run.departures) or "none", runs))
    return " ".join(told)


def shared(what: str, tell: Callable[[Run], str], runs: list[Run]) -> str:
    """State a value that the runs share or, where they do not, each value with its runs."""
    values = [f"{v} ({names})" if names else v for v, names in _sharing(tell, runs)]
    return f"{what}: {'; '.join(values)}."


def machine(run: Run) -> str:
    """Name the machine that a run was trained on."""
    about = run.manifest
    parts = [
        ", ".join(filter(None, [about.get("gpu"), about.get("cpu")])) or UNKNOWN,
        f"{about['cores']} cores" if about.get("cores") else "",
        f"{about['threads']} threads" if about.get("threads") else "",
        f"{about['memory_gib']:g} GiB of memory" if about.get("memory_gib") else "",
    ]
    return ", ".join(filter(None, parts))


def seeds_by_network(runs: list[Run]) -> dict[str, str]:
    """Map each network to its seeds as text: {"plain-20": "0, 1, 2"}."""
    return {
        network: ", ".join(str(run.seed) for run in sorted(group, key=lambda run: run.seed))
        for network, group in by_network(runs).items()
    }


def caveats(runs: list[Run]) -> str:
    """Say what networks or a schedule other than the paper's cannot show; "" for its own."""
    sentences = []
    if strangers := list(dict.fromkeys(run.network for run in runs if not run.in_paper)):
        names = " or ".join(filter(None, [", ".join(strangers[:-1]), strangers[-1]]))
        sentences.append(f"The paper does not train {names} on CIFAR-10.")
    known = [run for run in runs if run.in_paper]
    if known and not runs[0].on_paper_schedule:
        sentences += [not_comparable("errors"), *_early(known)]
    return " ".join(sentences)


def not_comparable(what: str) -> str:
    """Say that errors or responses are of another schedule than the paper's."""
    return (
        f"This is not the paper's schedule ({PAPER_SCHEDULE['iterations']:,} iterations): its "
        f"{what} are not to be compared with the paper's."
    )


def _early(runs: list[Run]) -> list[str]:
    """Say what the paper's networks cannot show after few iterations."""
    iterations, networks = runs[0].config["schedule"]["iterations"], {run.network for run in runs}
    if iterations >= EARLY:
        return []
    told = []
    deep = [run for run in runs if run.network == "plain-56"]
    if deep and fmean(run.final("train_error") for run in deep) > BARELY:
        told.append(
            f"After {iterations:,} iterations plain-56 has barely begun to learn: its gap is "
            "slower optimisation, far larger than the paper's few points."
        )
    if networks >= {"ResNet-20", "ResNet-56"}:
        told.append(
            f"In the paper's own curves ResNet-56 trails ResNet-20 until about {EARLY:,} "
            "iterations: what these runs show of the two says nothing against the paper."
        )
    return told


def _sharing(tell: Callable[[Run], str], runs: list[Run]) -> list[tuple[str, str]]:
    """Pair each value with the names of the runs that have it; with "" where all have the same.

    A network whose runs all have one value is named alone, others with their seeds.
    """
    owners: dict[str, list[str]] = {}
    for network, group in by_network(runs).items():
        alike = len({tell(run) for run in group}) == 1
        for run in group[:1] if alike else group:
            name = network if alike else f"{network} seed {run.seed}"
            owners.setdefault(tell(run), []).append(name)
    if len(owners) == 1:
        return [(value, "") for value in owners]
    return [(value, ", ".join(names)) for value, names in owners.items()]


def _schedule(schedule: dict) -> str:
    drops = " and ".join(f"{drop:,}" for drop in schedule["drops"])
    return f"{schedule['iterations']:,} iterations" + (
        f", learning rate ÷10 at {drops}" if drops else ""
    )


def _versions(run: Run) -> str:
    packages = run.manifest.get("packages") or {}
    known = [f"{NAMES.get(name, name)} {version}" for name, version in packages.items() if version]
    return ", ".join(known) or UNKNOWN
