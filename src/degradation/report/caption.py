"""What stands under a figure: where its curves come from, and what they cannot show."""

from collections.abc import Iterable
from typing import Any

from degradation.report.curves import PAPER_SCHEDULE, Run


def caption(spec: dict[str, Any], runs: list[Run]) -> str:
    """Describe a figure's lines, runs and data; on a new line, what the schedule cannot show."""
    facts = " ".join([f"After {spec['source']}.", _lines(runs), provenance(runs)])
    return "\n".join(filter(None, [facts, caveats(runs)]))


def provenance(runs: list[Run]) -> str:
    """Name the runs' schedule, data and precision, and settings that are not the paper's."""
    return " ".join(
        [
            _schedule(runs[0]),
            _shared("Data", ((_data(run), run) for run in runs)),
            _shared("Precision", ((run.precision, run) for run in runs)),
            *_departures(runs),
        ]
    )


def caveats(runs: list[Run]) -> str:
    """Say what a schedule other than the paper's cannot show; nothing ("") for the paper's own."""
    if runs[0].on_paper_schedule:
        return ""
    text = (
        f"This is not the paper's schedule ({PAPER_SCHEDULE['iterations']:,} iterations): its "
        "errors are not to be compared with the paper's."
    )
    if runs[0].schedule == "short" and any(run.network == "plain-56" for run in runs):
        text += (
            " On short, plain-56 has barely begun to learn: its gap is slower optimisation, far "
            "larger than the paper's few points."
        )
    return text


def seeds_by_network(runs: list[Run]) -> dict[str, str]:
    """Map each network to its seeds as text: {"plain-20": "0, 1, 2"}."""
    seeds: dict[str, list[int]] = {}
    for run in runs:
        seeds.setdefault(run.network, []).append(run.seed)
    return {network: ", ".join(map(str, sorted(known))) for network, known in seeds.items()}


def _lines(runs: list[Run]) -> str:
    unseen = "test error"
    if runs[0].measured == "val_error":
        held_out = runs[0].config["data"]["holdout"]
        unseen = f"validation error, on {held_out:,} training images held out"
    text = f"Thin dashed lines: training error, on augmented images; thick lines: {unseen}."
    return " ".join([text, *_seeds(runs)])


def _seeds(runs: list[Run]) -> list[str]:
    seeds = seeds_by_network(runs)
    known = next(iter(seeds.values()))
    if len(set(seeds.values())) > 1:
        known = "; ".join(f"{numbers} ({network})" for network, numbers in seeds.items())
    sentences = [f"{'Seeds' if len({run.seed for run in runs}) > 1 else 'Seed'} {known}."]
    if len(runs) > len(seeds):
        sentences.append(
            "Lines are means over the seeds, and bands reach from the lowest seed to the highest."
        )
    return sentences


def _schedule(run: Run) -> str:
    schedule = run.config["schedule"]
    text = f"Schedule {run.schedule}: {schedule['iterations']:,} iterations"
    if schedule["drops"]:
        drops = " and ".join(f"{drop:,}" for drop in schedule["drops"])
        text += f", learning rate ÷10 at {drops}"
    return text + "."


def _data(run: Run) -> str:
    remark = "" if run.canonical else "not the canonical archive"
    if run.config["data"]["name"] != "cifar10":
        remark = "not CIFAR-10"
    return run.dataset if remark in run.dataset else f"{run.dataset} ({remark})"


def _departures(runs: list[Run]) -> list[str]:
    settings = [(", ".join(run.departures) or "none", run) for run in runs]
    if all(text == "none" for text, _ in settings):
        return []
    return [_shared("Settings unlike the paper's", settings)]


def _shared(what: str, values: Iterable[tuple[str, Run]]) -> str:
    """State a value that the runs share or, where they do not, each value with its runs."""
    owners: dict[str, list[str]] = {}
    for value, run in values:
        owners.setdefault(value, []).append(f"{run.network} seed {run.seed}")
    if len(owners) == 1:
        return f"{what}: {next(iter(owners))}."
    each = "; ".join(f"{value} ({', '.join(names)})" for value, names in owners.items())
    return f"{what} (not the same for all runs): {each}."
