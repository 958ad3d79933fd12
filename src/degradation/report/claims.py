"""What the paper claims, and what runs show of it: differences, intervals and verdicts."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import yaml

from degradation.config import command_line, option_values, read_option
from degradation.report.runs import WORDS, Run, check_alike, models_of
from degradation.report.statistics import Difference, holds, welch
from degradation.schema import show
from degradation.setting import PAPER_NETWORKS

SEEDS = {0, 1, 2}  # enough for an interval
RUNS_MISSING = "runs missing"
FAITHFUL_WORDS = {True: "reproduced", False: "not reproduced", None: "undecided"}
OTHER_WORDS = {True: "same direction", False: "opposite direction", None: "undecided"}
GOOD = (FAITHFUL_WORDS[True], OTHER_WORDS[True])
BAD = (FAITHFUL_WORDS[False], OTHER_WORDS[False])
VERDICTS = (*GOOD, *BAD, "undecided", RUNS_MISSING)


@dataclass(frozen=True)
class Claim:
    """A statement about which of two networks has the higher final error; see `claims.yaml`."""

    number: int
    statement: str
    source: str
    column: str
    sign: int
    chains: list[list[str]]
    optional: list[str] = field(default_factory=list)
    figure: str = "figure6"

    @property
    def models(self) -> list[str]:
        """The networks that it is about, in the order of `chains`."""
        return [model for chain in self.chains for model in chain]


STATEMENTS = Path(__file__).with_name("claims.yaml").read_text(encoding="utf-8")
CLAIMS = [Claim(number, **told) for number, told in enumerate(yaml.safe_load(STATEMENTS), 1)]


@dataclass(frozen=True)
class Effect:
    """One pair of networks of a claim: `label` says what minus what, of which `error`."""

    label: str
    error: str
    difference: Difference
    as_in_paper: bool


@dataclass(frozen=True)
class Finding:
    """A claim, what runs show of it, and the verdict.

    `source` is its place in the paper. `effects` has one for each pair of networks that have runs.
    `lacking` has the models without runs; `command` trains them, and is "" if none could.
    """

    number: int
    statement: str
    source: str
    effects: tuple[Effect, ...]
    verdict: str
    lacking: tuple[str, ...] = ()
    command: str = ""


def judge(runs: list[Run], diverged: Iterable[Run] = ()) -> list[Finding]:
    """Judge what the paper claims, by the last evaluations of runs of one schedule and variant.

    Claims 1 to 7 are about the networks of section 4.2, 8 and 9 about those of Figure 4: of the
    two, those are judged, in order, that have a network among the runs; none for other networks.
    *Reproduced* and *not reproduced* are kept for runs that follow the paper in schedule and all
    settings; others have the *same direction* or the *opposite direction*. *Undecided*: intervals
    do not settle it, or there is none. *Runs missing*: a network has none; effects of the others
    are there. Training `diverged` runs again gives nothing: no command offers it. Raises UserError
    as `check_alike` does.
    """
    check_alike(runs)
    lost = {run.model for run in diverged}
    models = {run.model for run in runs}
    figure4 = {model for claim in CLAIMS if claim.figure == "figure4" for model in claim.models}
    return [
        _judge(claim, runs, lost)
        for claim in CLAIMS
        if models & (figure4 if claim.figure == "figure4" else PAPER_NETWORKS.keys())
    ]


def _judge(claim: Claim, runs: list[Run], lost: set[str]) -> Finding:
    column = "train_error" if claim.column == "train_error" else runs[0].measured
    statement = claim.statement.format(error=f"{WORDS[column]} error")
    # A network whose depth was changed is not the one of the claim, though it has its name.
    groups = {m: [run for run in runs if run.model == m and run.family] for m in claim.models}
    effects = []
    for chain in claim.chains:
        for before, model in pairwise(m for m in chain if groups[m] or m not in claim.optional):
            if groups[before] and groups[model]:
                effects.append(_effect(groups[model], groups[before], column, claim.sign))
    told = (claim.number, statement, claim.source, tuple(effects))
    if lacking := [m for m in groups if not groups[m] and m not in claim.optional]:
        command = "" if lost.issuperset(lacking) else _command(claim.figure, runs)
        return Finding(*told, RUNS_MISSING, tuple(lacking), command)
    faithful = all(run.faithful for group in groups.values() for run in group)
    words = FAITHFUL_WORDS if faithful else OTHER_WORDS
    return Finding(*told, words[holds([effect.difference for effect in effects], claim.sign)])


def _effect(runs: list[Run], before: list[Run], column: str, sign: int) -> Effect:
    difference = welch(*([run.final(column) for run in group] for group in (runs, before)))
    label = f"{runs[0].network} − {before[0].network}"
    return Effect(label, f"{WORDS[column]} error", difference, difference.points * sign > 0)


def _command(figure: str, runs: list[Run]) -> str:
    """Give the command that trains what a figure lacks beside `runs`; "" if none could."""
    overrides = runs[0].setting.overrides
    models = models_of(read_option("figure", figure))
    # Every network of the figure must have the runs' keys, and be itself with their values.
    keys = {o.partition("=")[0] for o in overrides if o.startswith("model.")}
    changed = any(run.model in models and not run.family for run in runs)
    if changed or any(not keys <= option_values("model", model).keys() for model in models):
        return ""
    present = {run.seed for run in runs}
    seeds = sorted(present if len(present) > 1 else present | SEEDS)
    words = [f"figure={figure}", f"schedule={runs[0].schedule}", f"seeds={show(seeds)}"]
    words += ["runtime=gpu"] * all(run.config["runtime"]["name"] == "gpu" for run in runs)
    return command_line("reproduce", *words, *overrides)


def headline(findings: list[Finding]) -> str:
    """Say in a sentence what became of the paper's claims; of single seeds, where they point."""
    if not findings:
        return "None of the paper's claims can be judged by these runs."
    counts = Counter(finding.verdict for finding in findings)
    words = {RUNS_MISSING: f"not judged ({RUNS_MISSING})"}
    told = ", ".join(f"{counts[v]} {words.get(v, v)}" for v in VERDICTS if counts[v])
    effects = [effect for finding in findings if not finding.lacking for effect in finding.effects]
    if not effects or any(effect.difference.low is not None for effect in effects):
        return f"The paper's claims: {told}."
    agreeing = [f"{effect.label}, {effect.error}" for effect in effects if effect.as_in_paper]
    which = f" ({'; '.join(agreeing)})" if 0 < len(agreeing) < len(effects) else ""
    return (
        f"The paper's claims: {told}. One seed gives no interval. Of the undecided claims' "
        f"differences, {len(agreeing)} of {len(effects)} have the paper's sign{which}."
    )
