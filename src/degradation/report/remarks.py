"""What a verdict rests on, in words, or what would give one."""

from collections.abc import Callable, Mapping, Sequence

from degradation.config import command_line, option_values, overrides_of, show
from degradation.report.curves import models_of
from degradation.report.formats import points
from degradation.report.runs import Run
from degradation.report.statements import Claim, Nearness
from degradation.report.statistics import MOST_SEEDS, Estimate, decide, directions, seeds_to_decide

SEEDS = {0, 1, 2}  # enough for an interval
# What more seeds would show, of runs that follow the paper in everything and of others.
AS_IN_PAPER = {True: "as in the paper", False: "against the paper"}
DIRECTIONS = {True: "in the same direction", False: "in the opposite direction"}
MORE = (
    "A single seed cannot tell how many more would decide it: an interval needs 1 more at least, "
    "and 3 in all are usual."
)


def order_remark(
    claim: Claim,
    estimates: Mapping[str, Estimate],
    holds: bool | None,
    single: list[str],
    faithful: bool,
) -> str:
    """Explain whether a claim holds (None: undecided) by its differences, each under its label.

    `single` names the networks with one seed; `faithful` runs follow the paper in everything.
    """
    known = list(estimates.values())
    sentences = []
    if holds is False and len(known) > 1:
        found = zip(estimates, directions(known), strict=True)
        against = [label for label, direction in found if direction == -claim.sign]
        sentences.append(f"Against it: {'; '.join(against)}.")
    if holds is None and single:
        sentences.append(f"One seed of {' and '.join(single)}: {_leaning(claim, known)}. {MORE}")
    elif holds is None:
        words = AS_IN_PAPER if faithful else DIRECTIONS
        sentences.append(_more_seeds(known, lambda more: decide(more, claim.sign), words))
    if len(known) > 1 and any(estimate.sure for estimate in known):
        sentences.append(
            f"The verdict takes all {len(known)} differences together (Holm); each interval is "
            "for its difference alone."
        )
    return " ".join(sentences)


def nearness_remark(claim: Nearness, estimates: Mapping[str, Estimate]) -> str:
    """Say which networks were compared with the paper, how far off one seed is, what is open."""
    named = {label.partition(" minus ")[0]: estimate for label, estimate in estimates.items()}
    sentences = [f"Asked of the networks that have runs: {', '.join(named)}."]
    if far := [name for name, e in named.items() if claim.settled(e) is False]:
        sentences.append(f"Further off: {', '.join(far)}.")
    single = {name: estimate for name, estimate in named.items() if not estimate.sure}
    for near, place in ((True, "within"), (False, "further off than")):
        alike = {n: e.points for n, e in single.items() if claim.holds_for(e.points) is near}
        if alike:
            names = " and ".join(f"{name} ({points(off)})" for name, off in alike.items())
            sentences.append(f"One seed of {names}: {place} {claim.points} points.")
    if single:
        sentences.append(MORE)
    opened = {n: e for n, e in named.items() if e.sure and claim.settled(e) is None}
    if opened:
        sentences.append(
            f"Open for {', '.join(opened)}: the interval reaches both sides of {claim.points}."
        )
        if not far and not single:
            sentences.append(_more_seeds(list(opened.values()), claim.decided, AS_IN_PAPER))
    return " ".join(sentences)


def how_to_train(networks: str, figure: str, runs: list[Run]) -> str:
    """Say that `networks` have no run beside `runs`, and give the command that makes them."""
    text = f"No finished run of {networks}"
    overrides = overrides_of(runs[0].variant, runs[0].config)
    if not _all_take(figure, overrides, runs):
        return f"{text} with {runs[0].variant or 'these settings'}."
    present = {run.seed for run in runs}
    seeds = sorted(present if len(present) > 1 else present | SEEDS)
    words = [f"figure={figure}", f"schedule={runs[0].schedule}", f"seeds={show(seeds)}"]
    return f"{text}; to train in results/runs: `{command_line('reproduce', *words, *overrides)}`"


def _all_take(figure: str, overrides: list[str], runs: list[Run]) -> bool:
    """Whether every network of a figure can have the runs' overrides, and be itself with them."""
    models = models_of({"panels": option_values("figure", figure)["figure.panels"]})
    keys = {o.partition("=")[0] for o in overrides if o.startswith("model.")}
    if any(run.model in models and run.family is None for run in runs):
        return False
    return all(keys <= option_values("model", model).keys() for model in models)


def _leaning(claim: Claim, estimates: list[Estimate]) -> str:
    agreeing = sum(map(claim.agrees, estimates))
    if len(estimates) > 1:
        return f"{agreeing} of {len(estimates)} differences point the paper's way"
    if estimates[0].points == 0:
        return "there is no difference"
    way = "the paper's" if agreeing else "the other"
    return f"the difference points {way} way"


def _more_seeds(
    estimates: list[Estimate],
    decided: Callable[[Sequence[Estimate]], bool | None],
    words: Mapping[bool, str],
) -> str:
    found = seeds_to_decide(estimates, decided)
    if found is None:
        return f"Even {MOST_SEEDS} seeds with these means and this spread would not decide it."
    needed, holds = found
    more = needed - min(estimate.seeds for estimate in estimates)
    return (
        f"About {needed} seeds of each network, {more} more than the fewest now, would decide it, "
        f"{words[holds]}, if means and spread stay as they are."
    )
