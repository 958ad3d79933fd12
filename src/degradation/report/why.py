"""Why deeper plain networks are worse: what probes and interventions show (docs/why.md).

An intervention is a run's override of `KEYS`. Its runs stand beside those that have none, share
their schedule and are the same in all else. Runs that diverged are among them, as outcomes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from degradation.report.figures import HEIGHT, Drawing, lay_out
from degradation.report.panel import (
    COLOURS,
    FAMILY_STYLES,
    Curve,
    draw_gaps,
    draw_interventions,
    draw_layers,
)
from degradation.report.provenance import how_made, seeds_of, shared
from degradation.report.runs import WORDS, Run
from degradation.report.statistics import Difference, contrast, welch
from degradation.schema import SHORTCUT
from degradation.setting import Setting

INTERVENTIONS = {  # in words
    "norm=none": "no batch norm",
    "init=dirac": "near-identity kernels",
    "init=gaussian": "N(0, 0.01²) kernels",
    "warmup.min_depth=20": "warm-up",
}
KEYS = {text.partition("=")[0] for text in INTERVENTIONS}
SHALLOW, DEEP, SHORTCUTS = "plain20", "plain56", "resnet56"
SETTLED, LATE = 100, 400  # updates: after the first damage; when warm-ups have ended, too
EQUAL = 1 / 5  # of the gap between plain-56 and plain-20: less is not what makes the gap
FAILED = 85.0  # percent of training error, about a guess, which has 90
DECADES = 10  # that the axis of gradients has at most
LINES_ARE = (
    "one line per update, the thick one before training. Lines are medians over the seeds. "
    "Horizontal axes end with the network's last layer."
)


# ---------------------------------------------------------------- runs


@dataclass(frozen=True, eq=False)
class Kind:
    """The runs of one network with one intervention ("": none) on one schedule, by their seeds.

    `model`, `network` and `schedule` are those of its runs, `iterations` the schedule's length.
    """

    intervention: str
    runs: list[Run]

    model = property(lambda self: self.runs[0].model)
    network = property(lambda self: self.runs[0].network)
    schedule = property(lambda self: self.runs[0].schedule)
    iterations = property(lambda self: self.runs[0].config["schedule"]["iterations"])
    seeds = property(lambda self: seeds_of(self.runs))

    @property
    def finished(self) -> list[Run]:
        """Those that ended; of the others, which diverged, there are no errors."""
        return [run for run in self.runs if not run.diverged]

    @cached_property
    def probed(self) -> list[Run]:
        """Those that have a probe, of a layer a third at least, up to where they diverged."""
        probed = [run for run in self.runs if not run.probe.empty]
        return [run for run in probed if len(layers_of(run, "cosine").columns) > 2]

    @property
    def words(self) -> str:
        """The intervention in words; "none" for none."""
        texts = self.intervention.split(",")
        known = [words for text, words in INTERVENTIONS.items() if text in texts]
        return ", ".join([*known, *(t for t in texts if t not in INTERVENTIONS)]) or "none"

    @property
    def name(self) -> str:
        """Network and intervention: plain-56, warm-up."""
        return f"{self.network}, {self.words}" if self.intervention else self.network

    @property
    def fate(self) -> str:
        """Which seeds diverged, and when; "" for none."""
        ends = [(run.seed, run.manifest["diverged_at"]) for run in self.runs if run.diverged]
        return ", ".join(f"seed {seed} diverged at iteration {at:,}" for seed, at in ends)

    def errors(self, column: str) -> pd.Series:
        """The last errors by seed, in percent."""
        return pd.Series({run.seed: run.final(column) for run in self.finished}, dtype=float)

    def layers(self, column: str, growth: bool = False) -> pd.DataFrame:
        """What `layers_of` gives, or its growth: medians over the seeds that got so far."""
        tables = [layers_of(run, column) for run in self.probed]
        tables = [table / table.loc[0] for table in tables] if growth else tables
        return pd.concat(tables).groupby(level=0).median()


def intervention(setting: Setting) -> str:
    """What a run has of `KEYS`, as its variant says it; "" for nothing."""
    texts = setting.variant.split(",")
    return ",".join(text for text in texts if text.partition("=")[0] in KEYS)


def kinds_of(runs: Iterable[Run]) -> list[Kind]:
    """Group runs that differ in schedule, network, seed and `KEYS` alone.

    Plain networks come first, then by depth; of one network that without an intervention first.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.place, run.seed)):
        key = run.schedule, run.model, intervention(run.setting)
        groups.setdefault(key, []).append(run)
    kinds = [Kind(changed, group) for (_, _, changed), group in groups.items()]
    return sorted(kinds, key=lambda k: (k.runs[0].place, k.intervention != "", k.words))


# ---------------------------------------------------------------- what probes measured


def layers_of(run: Run, column: str) -> pd.DataFrame:
    """What a run's probe measured: one row per update, one column per convolution, from 1.

    Projections are beside the main path, and not among them. What no layer has is NaN.
    """
    names = run.probe["layer"]
    rows = run.probe[(names != "network") & ~names.str.contains(SHORTCUT, regex=False)]
    rows = rows.assign(layer=rows.groupby("update").cumcount() + 1)
    rows = rows.reindex(columns=["update", "layer", column])
    return rows.pivot(index="update", columns="layer", values=column).astype(float)


@np.errstate(divide="ignore", invalid="ignore")  # gradients may be 0
def measure(run: Run) -> dict[str, float]:
    """Tell in numbers what a run's probe measured: the table in docs/why.md says what they are.

    A third is one of the network's convolutions. What is of an update that the run did not reach is
    NaN, and so is the end of one that diverged.
    """
    columns = ("output_gradient_norm", "relative_step", "kernel_norm", "cosine")
    columns += ("dead_share", "effective_rank", "channel_rank")
    backward, step, norm, cosine, dead, rank, channels = (layers_of(run, c) for c in columns)
    shattering = run.probe[run.probe["layer"] == "network"].set_index("update")["shattering"]
    third, growth = len(norm.columns) // 3, norm / norm.loc[0]
    end = None if run.diverged else norm.index[-1]
    lag, damage = (
        _geometric(table.iloc[:, :third]) / _geometric(table.iloc[:, -third:])
        for table in (step, growth)
    )
    spread = step.max(axis=1, skipna=False) / step.min(axis=1, skipna=False)
    between = len(norm.columns) - 2
    return {
        "growth": (backward[2] / backward.iloc[:, -1])[0] ** (1 / between),
        "lag_first": lag[0],
        "lag_lowest": lag.loc[1:].min(),
        "spread_first": spread[0],
        "spread_late": spread.loc[LATE:].max(),
        "damage": damage.max(),
        "cosine_first": cosine.iloc[:, :third].mean(axis=1).get(SETTLED),
        "cosine_last": cosine.iloc[:, -third:].mean(axis=1).get(SETTLED),
        "dead": 100 * dead.mean(axis=1).get(end, np.nan),
        "rank_first": rank.iloc[0, -1],
        "rank_end": rank.iloc[:, -1].get(end),
        "channels_first": _geometric(channels)[0],
        "channels_end": _geometric(channels).get(end),
        "shattering_first": shattering[0],
        "shattering_settled": shattering.get(SETTLED),
        "shattering_end": shattering.get(end),
    }


def _geometric(table: pd.DataFrame) -> pd.Series:
    """The geometric mean over the layers, by update."""
    return np.exp(np.log(table).mean(axis=1, skipna=False))


def measures_of(kind: Kind) -> dict[str, Any]:
    """What `measure` gives of a kind's runs, as medians over the seeds that got so far."""
    measured = pd.DataFrame([measure(run) for run in kind.probed], dtype=float)
    return {"name": kind.name, "fate": kind.fate, **measured.median()}


def factor(value: float) -> str:
    """Write a factor to three digits or fewer: 650, 4.13, 0.24; a dash where there is none."""
    if pd.isna(value):
        return "–"
    if value == 0 or np.isinf(value):
        return "∞" if value else "0"
    if not 0.001 <= value < 1e6:
        return f"{value:.0e}".replace("-", "−")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


# ---------------------------------------------------------------- what interventions do


@dataclass(frozen=True)
class Effect:
    """One error of a network with an intervention, and its difference to the one without.

    There is no difference for the network without, nor where all runs diverged. `outcome` says in a
    word what it shows, and how many runs failed.
    """

    kind: Kind
    intervention: str
    column: str
    difference: Difference | None
    outcome: str


@dataclass(frozen=True)
class Gap:
    """An error of plain-56 minus that of plain-20, both with one intervention, on one schedule.

    `change` is this gap minus another, and `outcome` as for an `Effect`: with an intervention, the
    one without on the same schedule; without, that on the report's own schedule. None for that one
    itself, and where there is none.
    """

    shallow: Kind
    deep: Kind
    column: str
    difference: Difference
    change: Difference | None
    outcome: str

    @property
    def seeds(self) -> str:
        """The seeds of plain-20 and plain-56, apart where they differ: 0, 1, 2; 0."""
        pair = (seeds_of(kind.finished) for kind in (self.shallow, self.deep))
        return "; ".join(dict.fromkeys(pair))


def effects_of(kinds: list[Kind], columns: tuple[str, ...]) -> list[Effect]:
    """Set each intervention beside the same network without, for the errors in `columns`.

    Shortcuts are one of plain-56: the network with is ResNet-56. Networks that have runs only with,
    or only without one, are not there.
    """
    without = _without(kinds)
    changed = {kind.model for kind in kinds if kind.intervention}
    plain, effects = [without.get(model) for model in (DEEP, SHALLOW)], []
    for kind in kinds:
        base = without.get(DEEP if kind is without.get(SHORTCUTS) else kind.model)
        if base is None or base.model not in changed:
            continue
        words = kind.words if kind.model == base.model else "shortcuts"
        bases = [base] if kind is not base else []
        for column in columns:
            effects.append(Effect(kind, words, column, *_compare([kind], bases, column, plain)))
    return effects


def gaps_of(kinds: list[Kind], around: list[Run], columns: tuple[str, ...]) -> list[Gap]:
    """Compare plain-56 with plain-20 on each schedule, by length, for each intervention of both.

    `kinds` are of one schedule, and `around` has runs of others; of one setting the first counts.
    """
    own = kinds[0].schedule
    others = {run.setting: run for run in reversed(around) if run.schedule != own}
    known = {
        (kind.schedule, kind.model, kind.intervention): kind
        for kind in [*kinds, *kinds_of(others.values())]
        if kind.finished
    }
    gaps = []
    for (schedule, model, changed), deep in known.items():
        shallow = known.get((schedule, SHALLOW, changed))
        plain = [known.get((schedule if changed else own, m, "")) for m in (DEEP, SHALLOW)]
        bases = plain if all(plain) and deep is not plain[0] else []
        for column in columns if model == DEEP and shallow else ():
            difference = welch(deep.errors(column), shallow.errors(column))
            change = _compare([deep, shallow], bases, column, plain)
            gaps.append(Gap(shallow, deep, column, difference, *change))
    return sorted(gaps, key=lambda gap: (gap.deep.iterations, gap.deep.intervention))


def _without(kinds: list[Kind]) -> dict[str, Kind]:
    """Those without an intervention that have errors, by model."""
    return {kind.model: kind for kind in kinds if not kind.intervention and kind.finished}


def _compare(
    kinds: list[Kind], bases: list[Kind], column: str, plain: list[Kind | None]
) -> tuple[Difference | None, str]:
    """Give an error of one kind, or the gap of two, minus that of `bases`; and what it shows.

    `bases` are without the intervention, and have errors; where there are none, or some of `kinds`
    has none, there is no difference. In words: *equal*, *lower*, *higher* or neither, by the 95 %
    interval, and how many runs failed. *Equal* is within a share of the gap of the `plain` networks
    without an intervention, and needs both.
    """
    difference, told, groups = None, [], [*kinds, *bases]
    if bases and all(kind.finished for kind in kinds):
        signs = [1, -1] if len(groups) == 2 else [1, -1, -1, 1]
        difference = contrast([kind.errors(column) for kind in groups], signs)
        low, high = difference.low, difference.high
        bound = 0.0
        if all(plain):
            deep, shallow = (kind.errors(column).mean() for kind in plain)
            bound = EQUAL * abs(deep - shallow)
        if low is None:
            told.append("no interval")
        elif -bound < low and high < bound:
            told.append("equal")
        else:
            told.append("lower" if high < 0 else "higher" if low > 0 else "no difference shown")
    for group, which in ((kinds, ""), (bases, " in the comparison")):
        runs = [run for kind in group for run in kind.runs]
        failed = sum(run.diverged or run.final("train_error") > FAILED for run in runs)
        told += [f"{failed} of {len(runs)}{which} failed"] * (failed > 0)
    return difference, ", ".join(told)


# ---------------------------------------------------------------- the section of a report


@dataclass(frozen=True)
class Why:
    """What a report tells of the question, if anything; `effects`, `gaps` need interventions."""

    kinds: Sequence[Kind] = ()
    effects: Sequence[Effect] = ()
    gaps: Sequence[Gap] = ()
    measures: Sequence[dict[str, Any]] = ()

    @property
    def runs(self) -> list[Run]:
        """All runs that it is about, those on other schedules after the others."""
        of_gaps = [kind for gap in self.gaps for kind in (gap.shallow, gap.deep)]
        return [run for kind in dict.fromkeys([*self.kinds, *of_gaps]) for run in kind.runs]


def tell(runs: list[Run], known: list[Run], around: list[Run]) -> Why:
    """Tell what the runs of a report show of the question, which may be nothing.

    `known` are all runs that there are, those that diverged among them: of those on the same
    schedule the ones with interventions are taken, unless `runs` have one themselves. `around` has
    runs of any schedule. Of runs of one setting the first counts.
    """
    first, columns = runs[0], ("train_error", runs[0].measured)

    def alike(run: Run) -> bool:
        return run.setting.variant_without(*KEYS) == first.variant

    there = [run for run in known if run.schedule == first.schedule]
    more = [r for r in there if (r.diverged if r.variant == first.variant else alike(r))]
    kinds = kinds_of([*runs, *{run.setting: run for run in reversed(more)}.values()])
    effects = effects_of(kinds, columns)
    measures = [measures_of(kind) for kind in kinds if kind.probed]
    gaps = gaps_of(kinds, [*filter(alike, around)], columns) if effects else []
    return Why(kinds, effects, gaps, measures) if effects or measures else Why()


# ---------------------------------------------------------------- figures


def build_why(why: Why, runs: list[Run]) -> dict[str, Drawing]:
    """Lay out those of the three figures that there are runs for, by name.

    `gradients` and `damage` need probes of the report's own `runs`; `interventions` needs plain-56
    with one and without.
    """
    base = intervention(runs[0].setting)
    probed = [kind for kind in why.kinds if kind.probed]
    own = [kind for kind in probed if kind.intervention == base]
    deep = [kind for kind in probed if kind.model == DEEP and kind not in own]
    drawings = {}
    if own:
        bare = [kind for kind in deep if kind.intervention == "norm=none"]
        normed = [kind for kind in deep if "norm=none" not in kind.intervention]
        drawings["gradients"] = _gradients([*own, *bare], runs)
        drawings["damage"] = _damage([*own, *normed], runs)
    if any(effect.kind.model == DEEP for effect in why.effects):
        drawings["interventions"] = _interventions(why, runs)
    return drawings


class Row(NamedTuple):
    """A row of panels: a table by update and layer for each kind, and the limits of their axes."""

    label: str
    tables: list[pd.DataFrame]
    limits: tuple[float, float]


def _gradients(kinds: list[Kind], runs: list[Run]) -> Drawing:
    """Lay out the norms of gradients: w.r.t. kernels above, convolutions' outputs below."""
    rows = []
    for words, column in (("kernel", "kernel_gradient_norm"), ("output", "output_gradient_norm")):
        tables = [kind.layers(column) for kind in kinds]
        rows.append(Row(f"w.r.t. the {words}", tables, _log_limits(tables)))
    text = [
        "Norm of the mean loss's gradient, on fixed training images: above with respect to each "
        f"convolution's kernel, below to its output, as it flows back; {LINES_ARE}"
    ]
    ratios = {kind.name: pd.Series(map(_second_to_last, kind.probed)).median() for kind in kinds}
    told = "; ".join(f"{name} {factor(ratio)}" for name, ratio in ratios.items() if ratio == ratio)
    text += [f"Kernels, second convolution ÷ last, at update 0: {told}."] * bool(told)
    if not any(table.gt(0).any(axis=None) for row in rows for table in row.tables):
        text.append("All are 0, at every update.")
    elif any(table.lt(row.limits[0]).any(axis=None) for row in rows for table in row.tables):
        text.append("What lies below the axes, and gradients of 0, are not shown.")
    return _by_update("Norms of gradients, layer by layer", kinds, rows, text, runs)


@np.errstate(divide="ignore", invalid="ignore")  # gradients may be 0
def _second_to_last(run: Run) -> float:
    """The gradient of the second kernel over that of the last, at update 0; NaN if both are 0."""
    norms = layers_of(run, "kernel_gradient_norm").loc[0]
    return norms[2] / norms.iloc[-1]


def _log_limits(tables: list[pd.DataFrame]) -> tuple[float, float]:
    """Limits of an axis that shows what is above 0, but no more than `DECADES`."""
    values = pd.concat([table.stack() for table in tables])
    values = values[(values > 0) & np.isfinite(values)]
    if values.empty:
        return 0.1, 10
    return max(values.min() / 1.5, 1.5 * values.max() / 10**DECADES), 1.5 * values.max()


def _damage(kinds: list[Kind], runs: list[Run]) -> Drawing:
    """Lay out what the first updates do to kernels: above their norms, below their directions."""
    growths = [kind.layers("kernel_norm", growth=True).loc[:SETTLED] for kind in kinds]
    cosines = [kind.layers("cosine").loc[:SETTLED] for kind in kinds]
    ends = pd.concat([table.stack() for table in growths])
    ends = ends[np.isfinite(ends)]
    limits = min(0.9, ends.min() / 1.05), max(5.5, ends.max() * 1.1)
    rows = [
        Row("norm ÷ first norm", growths, limits),
        Row("cosine with first", cosines, (-0.05, 1.05)),
    ]
    end = max(table.index[-1] for table in cosines)
    title = f"What the first {end} updates do to the kernels"
    text = [
        "Above: norm of each convolution's kernel over its norm before training. Below: cosine of "
        f"the kernel and its first state; {LINES_ARE}"
    ]
    return _by_update(title, kinds, rows, text, runs)


def _by_update(
    title: str, kinds: list[Kind], rows: list[Row], text: list[str], runs: list[Run]
) -> Drawing:
    """Lay out rows of panels, a panel a kind and a line an update."""
    beside = [run for kind in kinds for run in kind.probed]
    words = " ".join([*text, _seeds({kind: kind.probed for kind in kinds}), how_made(runs, beside)])
    updates = sorted({update for table in rows[0].tables for update in table.index})
    scale = matplotlib.colormaps["viridis"]
    # By its logarithm, from dark to light, but not so light that it could not be seen.
    colours = {u: to_hex(scale(0.9 * np.log1p(u) / np.log1p(max(updates[-1], 1)))) for u in updates}
    draw = partial(draw_layers, colours=colours)
    grid = [
        (row.label, [partial(draw, table=table, limits=row.limits) for table in row.tables])
        for row in rows
    ]
    names = [_in_two(kind.name) for kind in kinds]
    figure = lay_out(title, names, words, grid, 0.5 * HEIGHT, narrowest=1.15)
    return Drawing(figure, title, words, f"{title}: {'; '.join(kind.name for kind in kinds)}")


def _interventions(why: Why, runs: list[Run]) -> Drawing:
    """Lay out three panels: both errors by intervention, and the gap by length of training."""
    title, columns = "plain-56: interventions", ("train_error", runs[0].measured)
    deep = [kind for kind in why.kinds if kind.model == DEEP]
    beside = {SHALLOW: COLOURS[20], SHORTCUTS: FAMILY_STYLES["ResNet"][1]}
    lines = [kind for model, kind in _without(why.kinds).items() if model in beside]
    errors = [
        {
            "rows": [_ends(kind, column, _label(kind), COLOURS[56]) for kind in deep],
            "beside": [_ends(kind, column, kind.network, beside[kind.model]) for kind in lines],
        }
        for column in columns
    ]
    names = [f"{WORDS[column]} error" for column in columns]
    shown = [curve for panel in errors for curve in sum(panel.values(), [])]
    limit = 1.08 * max(1.0, *(curve.top for curve in shown if curve.seeds.size))
    panels = [partial(draw_interventions, **panel, limit=limit) for panel in errors]
    text = ["Errors: every seed is a dot, and a bar their mean."]
    if lines:
        text.append(
            f"Lines: {' and '.join(kind.network for kind in lines)}, in the band that their seeds "
            "span."
        )
    if gaps := [gap for gap in why.gaps if not gap.deep.intervention]:
        title += ", and length of training"
        rows = [
            {"column": gap.column, "iterations": gap.deep.iterations} | vars(gap.difference)
            for gap in gaps
        ]
        table = pd.DataFrame(rows).astype({"low": float, "high": float})
        panels.append(partial(draw_gaps, gaps=table))
        names.append("plain-56 − plain-20")
        several = table["low"].notna().any()
        bars = "; bars are Welch's 95 % intervals, of several seeds" if several else ""
        lengths = [
            f"{gap.deep.schedule} ({gap.deep.iterations:,} iterations; seeds: {gap.seeds})"
            for gap in gaps
        ]
        text.append(
            "Right: mean error of plain-56 minus that of plain-20, both without intervention, by "
            "the length of training, with the two errors side by side"
            f"{bars}. Schedules: {', '.join(dict.fromkeys(lengths))}."
        )
    known = [f"{kind.words} ({kind.intervention})" for kind in deep if kind.intervention]
    text.append(f"Interventions: {'; '.join(known)}.")
    words = [_seeds({kind: kind.runs for kind in [*deep, *lines]}), how_made(runs, why.runs)]
    words = " ".join([*text, *words])
    height = max(0.32 * len(deep), 0.6 * HEIGHT)
    figure = lay_out(title, names, words, [("", panels)], height, sharey=False)
    return Drawing(figure, title, words, f"{title}: {'; '.join(kind.name for kind in deep)}")


def _ends(kind: Kind, column: str, label: str, colour: str) -> Curve:
    """Make a row, or a line, of last errors."""
    errors = kind.errors(column).to_frame().T
    return Curve(kind.model, f"{column}-{kind.intervention or 'none'}", label, colour, errors, None)


def _label(kind: Kind) -> str:
    """Name an intervention, and say how many of its runs diverged."""
    lost = len(kind.runs) - len(kind.finished)
    diverged = f"{lost} of {len(kind.runs)} diverged" if lost else ""
    return "\n".join(filter(None, [_in_two(kind.words), diverged]))


def _in_two(name: str) -> str:
    return name.replace(", ", ",\n", 1)


def _seeds(shown: dict[Kind, list[Run]]) -> str:
    """Name the seeds of the runs shown, once if all kinds have the same, and what diverged."""
    seeds = shared("Seeds", {kind.name: seeds_of(runs) for kind, runs in shown.items()}, "; ")
    return " ".join([seeds, *(f"{kind.name}: {kind.fate}." for kind in shown if kind.fate)])
