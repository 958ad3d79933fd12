"""The statements of the paper set against recorded runs: effects, intervals and verdicts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from degradation.errors import UserError
from degradation.report.curves import check_alike
from degradation.report.paper import NETWORKS, final_error
from degradation.report.remarks import how_to_train, nearness_remark, order_remark
from degradation.report.runs import WORDS, Run
from degradation.report.statements import CLAIMS, FIGURE4_CLAIMS, NEARNESS, Claim, Nearness
from degradation.report.statistics import Estimate, decide, difference, offset

FAITHFUL_WORDS = {True: "reproduced", False: "not reproduced", None: "undecided"}
RUNS_MISSING = "runs missing"
OTHER_WORDS = {True: "same direction", False: "opposite direction", None: "undecided"}


@dataclass(frozen=True)
class Difference:
    """One effect: a difference of final errors in percentage points, with its 95 % interval.

    `label` says what minus what; `low` and `high` are None where the seeds are too few for an
    interval; `basis` names the method and the seeds. `as_in_paper` says whether it points the
    paper's way, and is None where the paper's is none.
    """

    label: str
    points: float
    low: float | None
    high: float | None
    basis: str
    as_in_paper: bool | None = None


@dataclass(frozen=True)
class Finding:
    """A claim, what the runs show of it, and the verdict.

    `source` is its place in the paper. `differences` has one for each pair of networks, each with
    an interval of its own; the `verdict` takes several together (Holm). `remark` says what the
    verdict rests on, or what would give one; it may be "".
    """

    number: int
    statement: str
    source: str
    differences: tuple[Difference, ...]
    verdict: str
    remark: str


def judge(runs: list[Run]) -> list[Finding]:
    """Judge what the paper claims, by the last evaluations of runs of one schedule and variant.

    Claims 1 to 8 are about the networks of section 4.2, 9 and 10 about those of Figure 4: of the
    two, those are judged, in order, that have a network among the runs; none for other networks.
    *Reproduced* and *not reproduced* are kept for runs that follow the paper in schedule and all
    settings; others have the *same direction* or the *opposite direction*. *Undecided*: intervals
    do not settle it, or there is none. *Runs missing*: a network has none; differences of the
    others are there. Raises UserError as `check_one_setting` does.
    """
    check_one_setting(runs)
    models, findings = {run.model for run in runs}, []
    if any(run.in_paper or run.model in NETWORKS for run in runs):
        findings += [_judge_order(claim, runs) for claim in CLAIMS]
        findings.append(_judge_nearness(NEARNESS, runs))
    if any(not models.isdisjoint(claim.models) for claim in FIGURE4_CLAIMS):
        findings += [_judge_order(claim, runs) for claim in FIGURE4_CLAIMS]
    return findings


def check_one_setting(runs: list[Run]) -> None:
    """Raise UserError if there are no runs, or as `check_alike` does."""
    if not runs:
        raise UserError("no finished runs: there is nothing to judge")
    check_alike("claims", runs)


def _judge_order(claim: Claim, runs: list[Run]) -> Finding:
    column = "train_error" if claim.column == "train_error" else runs[0].measured
    error = f"{WORDS[column]} error"
    statement = claim.statement.format(error=error)
    ends = {model: _ends(model, column, runs) for model in claim.models}
    steps = [
        pair
        for chain in claim.chains
        for pair in pairwise(model for model in chain if ends[model] or model not in claim.optional)
    ]
    names = {run.model: run.network for run in runs if ends.get(run.model)}
    estimates = {
        f"{names[model]} minus {names[before]}, {error}": difference(ends[model], ends[before])
        for before, model in steps
        if ends[before] and ends[model]
    }
    effects = _differences(estimates, claim.agrees)
    lacking = [model for model, known in ends.items() if not known and model not in claim.optional]
    if lacking:
        remark = how_to_train(", ".join(lacking), claim.figure, runs)
        return Finding(claim.number, statement, claim.source, effects, RUNS_MISSING, remark)

    holds = decide(list(estimates.values()), claim.sign)
    faithful = all(run.faithful for run in runs if run.model in ends)
    verdict = (FAITHFUL_WORDS if faithful else OTHER_WORDS)[holds]
    counts = {names[model]: len(known) for model, known in ends.items() if known}
    single = [network for network, count in counts.items() if count == 1]
    single = ["each network"] if len(single) == len(counts) else single
    remark = order_remark(claim, estimates, holds, single, faithful)
    return Finding(claim.number, statement, claim.source, effects, verdict, remark)


def _judge_nearness(claim: Nearness, runs: list[Run]) -> Finding:
    def finding(verdict: str, remark: str, effects: tuple[Difference, ...] = ()) -> Finding:
        return Finding(claim.number, claim.statement, claim.source, effects, verdict, remark)

    used = [run for run in runs if final_error(run.model) and _is_itself(run)]
    if not all(run.on_paper_schedule and not run.departures for run in used or runs):
        return finding(
            "not asked",
            "Asked of the paper's schedule and settings alone: errors from others are not to be "
            "compared with the paper's.",
        )
    if not used:
        remark = how_to_train("a network that the paper reports", claim.figure, runs)
        return finding(RUNS_MISSING, remark)

    estimates = {}
    for model in dict.fromkeys(run.model for run in used):
        error, _ = final_error(model)
        label = f"{NETWORKS[model]} minus the paper's {error:.2f}, test error"
        estimates[label] = offset(_ends(model, "test_error", runs), error)
    verdict = FAITHFUL_WORDS[claim.decided(list(estimates.values()))]
    return finding(verdict, nearness_remark(claim, estimates), _differences(estimates))


def _is_itself(run: Run) -> bool:
    """Whether the run's network is what its model is called: its depth was left alone."""
    return run.family is not None


def _ends(model: str, column: str, runs: list[Run]) -> dict[int, float]:
    """Map each seed of a model to the error of its last evaluation, in percent."""
    return {run.seed: run.final(column) for run in runs if run.model == model and _is_itself(run)}


def _differences(
    estimates: Mapping[str, Estimate], agrees: Callable[[Estimate], bool | None] = lambda _: None
) -> tuple[Difference, ...]:
    return tuple(
        Difference(label, e.points, e.low, e.high, e.basis, agrees(e))
        for label, e in estimates.items()
    )
