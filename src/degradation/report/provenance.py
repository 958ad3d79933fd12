"""How runs were made, and where that is not what the paper did, as text for the report."""

from collections.abc import Callable
from typing import NamedTuple

from degradation.report.runs import PAPER_SCHEDULE, Run, sharing

PAPER_MOMENTS = 64  # images of a batch that each of the paper's two GPUs had
PAPER_WARMUP = "rate 0.01 until error < 80 %"
COMMIT = 10  # characters of a commit's hash that tell it from others
NAMES = {
    "python": "Python",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "numpy": "NumPy",
    "hydra-core": "Hydra",
    "wandb": "W&B",
}


class Fact(NamedTuple):
    """Something that runs share: `runs` names those that it holds for, "" for all."""

    what: str
    value: str
    runs: str


class Deviation(NamedTuple):
    """One point of the protocol: what the paper does, and what was done here."""

    what: str
    paper: str
    here: str


STANDING = (
    Deviation(
        "initialisation of the dense layer",
        "not stated",
        "N(0, 0.01), Caffe's custom: with He normal the first updates at a rate of 0.1 blow up",
    ),
    Deviation(
        "weight decay",
        "1e-4; on which weights not stated",
        "on the kernels of convolutions and of the dense layer, not on gamma, beta and biases",
    ),
    Deviation(
        "batch normalisation",
        "constants not stated; moments for testing averaged, by the authors' later code",
        "epsilon 1e-5; moments averaged over 40 batches of augmented training images",
    ),
    Deviation(
        "training error in figures and tables",
        "measurement not stated",
        "mean over the augmented batches since the evaluation before",
    ),
)
"""What holds for every run of this repository; its README has the same points."""


def facts(runs: list[Run]) -> list[Fact]:
    """Say on which data, in which precision, and with which machine and versions runs were made."""
    told: dict[str, Callable[[Run], str]] = {
        "Data": lambda run: run.data,
        "Precision": lambda run: run.precision,
        "Machine": _machine,
        "Versions": _versions,
    }
    return [
        Fact(what, value, names)
        for what, tell in told.items()
        for value, names in sharing((tell(run), run) for run in runs)
    ]


def run_row(run: Run) -> dict[str, str]:
    """Tell what is one run's own: commit, day, duration, speed, and how often it was continued."""
    manifest = run.manifest
    speed = manifest.get("images_per_second")
    return {
        "network": run.network,
        "seed": str(run.seed),
        "commit": commit(run),
        "started": (manifest.get("started") or "not recorded").split("T")[0],
        "time": duration(manifest.get("wall_seconds")),
        "speed": f"{speed:,.0f}" if speed else "not recorded",
        "resumed": str(len(manifest.get("resumes") or [])),
    }


def commit(run: Run) -> str:
    """Name the commits that trained a run, and whether files had changed since."""
    known = [
        state["git_commit"][:COMMIT] + (" with changes" if state["git_dirty"] else "")
        for state in run.code
    ]
    return ", ".join(known) or "not recorded"


def duration(seconds: float | None) -> str:
    """Write a duration in its two largest units: 45 s, 43 min, 1 h 54 min."""
    if seconds is None:
        return "not recorded"
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def deviations(runs: list[Run]) -> list[Deviation]:
    """List the points in which runs do not follow the paper, or in which it does not say how.

    The runs' own come first, then what is so for every run of this repository.
    """
    own = [
        *_of("schedule", _paper_schedule(), runs, _schedule),
        *_of("settings", "as in section 4.2", runs, lambda run: ", ".join(run.departures)),
        *_of("data", "CIFAR-10", runs, lambda run: "" if run.canonical else run.data),
        *_of("precision", "float32", runs, _precision),
        *_of("batch normalised together", "64 images on each of two GPUs", runs, _batch),
        *_of("first updates at 110 layers", PAPER_WARMUP, runs, _warmup),
    ]
    return own + list(STANDING)


def _of(what: str, paper: str, runs: list[Run], tell: Callable[[Run], str]) -> list[Deviation]:
    """State what `tell` says of the runs; nothing where that is ""."""
    shared = sharing((tell(run), run) for run in runs)
    return [
        Deviation(what, paper, f"{value} ({names})" if names else value)
        for value, names in shared
        if value
    ]


def _machine(run: Run) -> str:
    about = run.manifest
    processor = ", ".join(filter(None, [about.get("gpu"), about.get("cpu")]))
    parts = [
        processor or "not recorded",
        f"{about['cores']} cores" if about.get("cores") else "",
        f"{about['threads']} threads" if about.get("threads") else "",
        f"{about['memory_gib']:g} GiB of memory" if about.get("memory_gib") else "",
    ]
    return ", ".join(filter(None, parts))


def _versions(run: Run) -> str:
    packages = run.manifest.get("packages") or {}
    known = {name: version for name, version in packages.items() if version}
    return ", ".join(f"{NAMES.get(n, n)} {version}" for n, version in known.items()) or (
        "not recorded"
    )


def _paper_schedule() -> str:
    return _spell(PAPER_SCHEDULE["iterations"], PAPER_SCHEDULE["drops"])


def _schedule(run: Run) -> str:
    if run.on_paper_schedule:
        return ""
    schedule = run.config["schedule"]
    return _spell(schedule["iterations"], schedule["drops"])


def _spell(iterations: int, drops: list[int]) -> str:
    fall = f", rate ÷10 at {' and '.join(f'{drop:,}' for drop in drops)}" if drops else ""
    return f"{iterations:,} iterations{fall}"


def _precision(run: Run) -> str:
    if run.precision == "float32":
        return ""
    return f"{run.precision}; weights, statistics, logits and loss in float32"


def _batch(run: Run) -> str:
    optimizer = run.config["optimizer"]
    images = optimizer["ghost_batch"] or optimizer["batch"]
    return "" if images == PAPER_MOMENTS else f"{images} images: moments are taken of these"


def _warmup(run: Run) -> str:
    warmup = run.config["optimizer"].get("warmup")
    if not warmup or run.config["model"].get("depth", 0) < warmup["min_depth"]:
        return ""
    start = f"rate {warmup['rate']:g} until error < {warmup['until_error']:g} %"
    start = "the same" if start == PAPER_WARMUP else start
    return f"{start}, the error measured over windows of 100 updates"
