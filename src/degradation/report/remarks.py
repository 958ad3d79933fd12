"""What a verdict rests on, in words, or what would give one."""

from collections.abc import Iterator, Mapping

from degradation.config import RESULT_GROUPS, flatten, show
from degradation.report.runs import Run
from degradation.report.statements import EARLY, Claim, Nearness
from degradation.report.statistics import MOST_SEEDS, Estimate, directions, seeds_to_decide

SEEDS = {0, 1, 2}  # enough for an interval


def order_remark(
    claim: Claim,
    estimates: Mapping[str, Estimate],
    holds: bool | None,
    single: list[str],
    iterations: int,
) -> str:
    """Explain whether a claim holds (None: undecided) by its differences, each under its label.

    `single` names the networks with one seed; `iterations` is the length of the runs.
    """
    known = list(estimates.values())
    sentences = []
    if holds is False and len(known) > 1:
        found = zip(estimates, directions(known), strict=True)
        against = [label for label, direction in found if direction == -claim.sign]
        sentences.append(f"Against it: {'; '.join(against)}.")
    if holds is None and single:
        sentences.append(
            f"One seed of {' and '.join(single)}: {_leaning(claim, known)}. An interval needs 1 "
            "more, at least 2 in all."
        )
    elif holds is None:
        sentences.append(_more_seeds(claim, known))
    if len(known) > 1 and any(estimate.sure for estimate in known):
        sentences.append(
            f"The verdict takes all {len(known)} differences together (Holm); each interval is "
            "for its difference alone."
        )
    if claim.early and iterations < EARLY and any(e.points * claim.sign < 0 for e in known):
        sentences.append(claim.early)
    return " ".join(sentences)


def nearness_remark(claim: Nearness, estimates: Mapping[str, Estimate]) -> str:
    """Say which networks were compared with the paper, and what is not sure about it."""
    named = {label.partition(" minus ")[0]: estimate for label, estimate in estimates.items()}
    sentences = [f"Asked of the networks that have runs: {', '.join(named)}."]
    if far := [name for name, e in named.items() if not claim.holds_for(e.points)]:
        sentences.append(f"Further off: {', '.join(far)}.")
    if single := [name for name, e in named.items() if not e.sure]:
        sentences.append(f"One seed decides for {', '.join(single)}.")
    if unsettled := [name for name, e in named.items() if _straddles(e, claim.points)]:
        sentences.append(
            f"The mean decides for {', '.join(unsettled)}: the interval reaches both sides of "
            f"{claim.points}."
        )
    return " ".join(sentences)


def how_to_train(networks: str, figure: str, runs: list[Run]) -> str:
    """Say that `networks` have no run beside `runs`, and give the command that makes them."""
    text = f"No finished run of {networks}"
    overrides = list(_overrides(runs[0]))
    if any(override.startswith("model.") for override in overrides):
        return f"{text} with {runs[0].variant}."  # not every network of a figure has such a key
    present = {run.seed for run in runs}
    seeds = sorted(present if len(present) > 1 else present | SEEDS)
    words = [f"figure={figure}", f"schedule={runs[0].schedule}", f"seeds={show(seeds)}", *overrides]
    return f"{text}; to train: `python -m experiments.reproduce {' '.join(words)}`"


def _leaning(claim: Claim, estimates: list[Estimate]) -> str:
    agreeing = sum(estimate.points * claim.sign > 0 for estimate in estimates)
    if len(estimates) > 1:
        return f"{agreeing} of {len(estimates)} differences point the paper's way"
    if estimates[0].points == 0:
        return "there is no difference"
    way = "the paper's" if agreeing else "the other"
    return f"the difference points {way} way"


def _more_seeds(claim: Claim, estimates: list[Estimate]) -> str:
    needed = seeds_to_decide(estimates, claim.sign)
    if needed is None:
        return f"Even {MOST_SEEDS} seeds with these means and this spread would not decide it."
    have = min(estimate.seeds for estimate in estimates)
    more = needed - have
    return (
        f"About {more} more {'seed' if more == 1 else 'seeds'} of each network, {needed} in all, "
        f"would decide it if they spread as these {have} do."
    )


def _straddles(estimate: Estimate, points: float) -> bool:
    """Whether the interval holds values within `points` of zero and values beyond."""
    if not estimate.sure:
        return False
    beyond = estimate.low < -points or estimate.high > points
    return beyond and estimate.low <= points and estimate.high >= -points


def _overrides(run: Run) -> Iterator[str]:
    """Write the overrides of a run as a command line takes them, from its variant's short keys."""
    values = flatten(run.config)
    for override in filter(None, run.variant.split(",")):
        keys = [f"{group}.{override.partition('=')[0]}" for group in (*RESULT_GROUPS, "runtime")]
        known = next((key for key in keys if key in values), None)
        yield f"{known}={show(values[known])}" if known else override
