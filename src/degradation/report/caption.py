"""What stands under a figure: where its curves come from, and what they cannot show."""

from collections.abc import Iterable, Iterator
from typing import Any

from degradation.report.curves import draws_responses, paper_curve, response_distance
from degradation.report.paper import DIGITISED, DIGITISED_RESPONSES
from degradation.report.runs import PAPER_SCHEDULE, Run, mean_final, sharing
from degradation.report.statements import EARLY

PLAIN = ("plain-20", "plain-56")
LARGE = 10.0  # percentage points of training error between the two: the paper's are 4.5
BARELY = 40.0  # percent of training error of a network that has learned little; guessing has 90


def caption(spec: dict[str, Any], runs: list[Run]) -> str:
    """Describe a figure's lines, runs and data; on a new line, what the schedule cannot show."""
    if draws_responses(spec):
        facts = [f"After {spec['source']}.", *_responses(runs), provenance(runs)]
        limits = "" if runs[0].on_paper_schedule else _other_schedule("responses")
        return "\n".join(filter(None, [" ".join(facts), limits]))
    facts = [f"After {spec['source']}.", _lines(runs), *_faint_lines(runs), provenance(runs)]
    return "\n".join(filter(None, [" ".join(facts), caveats(runs)]))


def depth_caption(runs: list[Run]) -> str:
    """Describe the figure of final errors against depth, as `caption` does the curves."""
    marks = "A dot is the last evaluation of one seed."
    if len(runs) > len({run.model for run in runs}):
        marks += " Seeds of one network stand side by side; lines join their means."
    if _has_paper_curves(runs):
        marks += f" Faint diamonds: the last points of {DIGITISED}."
    facts = ["After He et al. 2015, section 4.2.", marks, _seeds(runs), provenance(runs)]
    return "\n".join(filter(None, [" ".join(facts), caveats(runs)]))


def provenance(runs: list[Run]) -> str:
    """Name the runs' schedule, data and precision, and settings that are not the paper's."""
    return " ".join(
        [
            _schedule(runs[0]),
            _shared("Data", ((run.data, run) for run in runs)),
            _shared("Precision", ((run.precision, run) for run in runs)),
            *_departures(runs),
        ]
    )


def caveats(runs: list[Run]) -> str:
    """Say what networks or a schedule other than the paper's cannot show; "" for its own."""
    sentences = []
    strangers = list(dict.fromkeys(run.network for run in runs if not run.in_paper))
    if strangers:
        sentences.append(
            f"The paper does not train {_listed(strangers)} on CIFAR-10: there are no errors of "
            "the paper's to compare with."
        )
    if not runs[0].on_paper_schedule and any(run.in_paper for run in runs):
        sentences.append(_other_schedule("errors"))
    if not runs[0].on_paper_schedule:
        sentences += _shorter(runs)
    return " ".join(sentences)


def _other_schedule(what: str) -> str:
    return (
        f"This is not the paper's schedule ({PAPER_SCHEDULE['iterations']:,} iterations): its "
        f"{what} are not to be compared with the paper's."
    )


def _shorter(runs: list[Run]) -> Iterator[str]:
    """Say what the paper's networks cannot show on a schedule that is not the paper's."""
    networks: dict[str, list[Run]] = {}
    for run in runs:
        if run.in_paper:
            networks.setdefault(run.network, []).append(run)
    iterations = runs[0].config["schedule"]["iterations"]
    ends = {name: mean_final(networks[name], "train_error") for name in PLAIN if name in networks}
    large = len(ends) == 2 and ends["plain-56"] - ends["plain-20"] > LARGE
    if iterations < EARLY and ends.get("plain-56", 0.0) > BARELY:
        shortened = "iterations=" in runs[0].variant  # then it is not what its name says
        start = f"After {iterations:,} iterations" if shortened else f"On {runs[0].schedule}"
        gap = ": its gap is slower optimisation, far larger than the paper's few points" * large
        yield f"{start}, plain-56 has barely begun to learn{gap}."
    elif large:
        yield "Plain-56's gap is far larger than the paper's few points."
    if networks.keys() >= {"ResNet-20", "ResNet-56"} and iterations < EARLY:
        yield (
            f"In the paper's own curves ResNet-56 trails ResNet-20 until about {EARLY:,} "
            "iterations: what these runs show of the two says nothing against the paper."
        )


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
    return " ".join([text, *_means(runs)])


def _responses(runs: list[Run]) -> Iterator[str]:
    yield (
        "Standard deviation of each convolution's responses, after batch normalisation and before "
        "addition and ReLU: √(mean γ² + Var β), from the weights alone."
    )
    yield from _means(runs)
    groups = {run.network: [other for other in runs if other.model == run.model] for run in runs}
    known = {name: response_distance(group) for name, group in groups.items()}
    told = [f"{name} {value:.2f}" for name, value in known.items() if value is not None]
    if told:
        yield (
            f"Faint lines: {DIGITISED_RESPONSES}, straight over layers that it leaves out. Mean "
            f"over its layers of |ours ÷ paper − 1|: {', '.join(told)}."
        )


def _means(runs: list[Run]) -> list[str]:
    """Name the seeds; of several of one network, say how they are drawn."""
    several = len(runs) > len({run.model for run in runs})
    lines = "Lines are means over the seeds, and bands reach from the lowest seed to the highest."
    return [_seeds(runs), *[lines] * several]


def _faint_lines(runs: list[Run]) -> list[str]:
    text = f"Faint lines: {DIGITISED}; its axis ends at 20 %, and some points could not be read."
    return [text] * _has_paper_curves(runs)


def _has_paper_curves(runs: list[Run]) -> bool:
    return any(paper_curve([run], "train_error") is not None for run in runs)


def _seeds(runs: list[Run]) -> str:
    networks: dict[str, list[str]] = {}
    for network, numbers in seeds_by_network(runs).items():
        networks.setdefault(numbers, []).append(network)
    known = next(iter(networks))
    if len(networks) > 1:
        known = "; ".join(f"{numbers} ({', '.join(of)})" for numbers, of in networks.items())
    return f"{'Seeds' if len({run.seed for run in runs}) > 1 else 'Seed'} {known}."


def _schedule(run: Run) -> str:
    schedule = run.config["schedule"]
    text = f"Schedule {run.schedule}: {schedule['iterations']:,} iterations"
    if schedule["drops"]:
        drops = " and ".join(f"{drop:,}" for drop in schedule["drops"])
        text += f", learning rate ÷10 at {drops}"
    return text + "."


def _departures(runs: list[Run]) -> list[str]:
    settings = [(", ".join(run.departures) or "none", run) for run in runs]
    if all(text == "none" for text, _ in settings):
        return []
    return [_shared("Settings unlike the paper's", settings)]


def _shared(what: str, values: Iterable[tuple[str, Run]]) -> str:
    """State a value that the runs share or, where they do not, each value with its runs."""
    owners = sharing(values)
    if len(owners) == 1:
        return f"{what}: {owners[0][0]}."
    each = "; ".join(f"{value} ({names})" for value, names in owners)
    return f"{what} (not the same for all runs): {each}."


def _listed(names: list[str]) -> str:
    """Join names as a sentence does: a, b or c."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
