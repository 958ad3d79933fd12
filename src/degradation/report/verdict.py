"""What runs say about the paper, in a few sentences."""

from collections import Counter
from collections.abc import Iterable

from degradation.report.claims import RUNS_MISSING, Finding
from degradation.report.runs import WORDS, Run, mean_final

GOOD = ("reproduced", "same direction")
BAD = ("not reproduced", "opposite direction")
UNTESTED = (RUNS_MISSING, "not asked")
PHRASES = {
    "reproduced": "reproduced",
    "same direction": "in the same direction as in the paper",
    "not reproduced": "not reproduced",
    "opposite direction": "in the opposite direction",
    "undecided": "undecided",
}


def headline(findings: Iterable[Finding]) -> str:
    """Say in a sentence what became of the paper's claims, if it makes any about these networks."""
    findings = list(findings)
    verdicts = Counter(finding.verdict for finding in findings)
    if not verdicts:
        return "The paper makes no claim about these networks."
    tested = sum(count for verdict, count in verdicts.items() if verdict not in UNTESTED)
    if not tested:
        return "None of the paper's claims can be tested with these runs yet."
    counts = [(verdicts[verdict], phrase) for verdict, phrase in PHRASES.items()]
    (count, phrase), *others = [(count, phrase) for count, phrase in counts if count]
    if others:
        told = f"Of {tested} claims tested, {_are(count)} {phrase}"
    elif tested == 1:
        told = f"The one claim tested is {phrase}"
    else:
        told = f"{'Both' if tested == 2 else f'All {tested}'} claims tested are {phrase}"
    told += "".join(f", {count} {phrase}" for count, phrase in others)
    rest = verdicts[RUNS_MISSING]
    more = f"; {rest} more {'lacks' if rest == 1 else 'lack'} runs" if rest else ""
    return f"{told}{more}.{_without_interval(findings)}"


def _without_interval(findings: list[Finding]) -> str:
    """Say which way differences point, of findings that are undecided for want of an interval."""
    tested = [d for f in findings if f.verdict == "undecided" for d in f.differences]
    ways = [d.as_in_paper for d in tested if d.as_in_paper is not None]
    if not ways or any(d.low is not None for f in findings for d in f.differences):
        return ""
    what = f"the difference {'points' if ways[0] else 'does not point'}"
    if len(ways) > 1:
        what = f"{sum(ways)} of {len(ways)} differences, some between the same runs, point"
    return f" One seed gives no interval; {what} the paper's way."


def _are(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def outcomes(runs: list[Run]) -> list[str]:
    """Set the deepest of the paper's networks against the shallowest, plain ones and residual."""
    sentences = []
    for residual, start in ((False, "Without shortcuts"), (True, "With shortcuts")):
        group = [run for run in runs if run.in_paper and run.residual is residual]
        depths = sorted({run.depth for run in group})
        if len(depths) > 1:
            deep, shallow = (
                [run for run in group if run.depth == depth] for depth in (depths[-1], depths[0])
            )
            sentences.append(f"{start}, {_outcome(deep, shallow)}")
    return sentences


def _outcome(deep: list[Run], shallow: list[Run]) -> str:
    columns = ("train_error", deep[0].measured)
    unseen = WORDS[columns[1]]
    ends = [[mean_final(group, column) for column in columns] for group in (deep, shallow)]
    high, low = (" / ".join(f"{error:.2f}" for error in errors) for errors in ends)
    words = [
        "higher" if high > low else "lower" if high < low else "the same"
        for high, low in zip(*ends, strict=True)
    ]
    alone = " (one seed each)" * (len(deep) == len(shallow) == 1)
    if words[0] == words[1]:
        told = f"{words[0]} for the deeper network"
    else:
        told = f"for the deeper network {words[0]} in training and {words[1]} in {unseen}"
    return (
        f"{deep[0].network} ends at {high} % (training / {unseen} error) and "
        f"{shallow[0].network} at {low} %: {told}{alone}."
    )
