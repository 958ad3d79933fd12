"""Why deeper plain networks are worse: what probes and interventions show (docs/why.md).

An intervention is a run's override of `KEYS`. Its runs stand beside those that have none, share
their schedule and are the same in all else. Runs that diverged are among them, as outcomes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from degradation.report.figures import HEIGHT, STYLE, Picture, lay_out, write_picture
from degradation.report.panel import (
    COLOURS,
    FAMILIES,
    SMALL,
    TEXT,
    Curve,
    draw_gaps,
    draw_interventions,
    draw_layers,
)
from degradation.report.provenance import how_made
from degradation.report.runs import WORDS, Run, check_alike
from degradation.report.statistics import Difference, contrast, welch
from degradation.setting import Setting

KEYS = ("init", "norm", "warmup.min_depth")
INTERVENTIONS = {  # in words
    "norm=none": "no batch norm",
    "init=dirac": "near-identity kernels",
    "init=gaussian": "N(0, 0.01) kernels",
    "warmup.min_depth=20": "warm-up",
}
SHALLOW, DEEP, SHORTCUTS = "plain20", "plain56", "resnet56"
SETTLED, LATE = 100, 400  # updates: after the first damage; when warm-ups have ended, too
EQUAL = 1 / 5  # of the gap between plain-56 and plain-20: less is not what makes the gap
FAILED = 85.0  # percent of training error, about a guess, which has 90
DECADES = 10  # that the axis of gradients has at most
LINES_ARE = "a line an update, the thick one before training. Lines are medians over the seeds."


# ---------------------------------------------------------------- runs


@dataclass(frozen=True, eq=False)
class Kind:
    """The runs of one network with one intervention ("": none) on one schedule."""

    model: str
    intervention: str
    finished: list[Run] = field(default_factory=list)
    diverged: list[Run] = field(default_factory=list)

    @property
    def all(self) -> list[Run]:
        """Its runs by their seeds, whatever became of them."""
        return sorted([*self.finished, *self.diverged], key=lambda run: run.seed)

    @property
    def probed(self) -> list[Run]:
        """Those of its runs that have a probe, up to where they diverged."""
        return [run for run in self.all if not run.probe.empty]

    @property
    def network(self) -> str:
        """The network's name in text."""
        return self.all[0].network

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
    def seeds(self) -> str:
        """The seeds of its runs."""
        return ", ".join(str(run.seed) for run in self.all)

    @property
    def fate(self) -> str:
        """Which seeds diverged, and when; "" for none."""
        ends = [(run.seed, run.manifest["diverged_at"]) for run in self.diverged]
        return ", ".join(f"seed {seed} diverged at iteration {at:,}" for seed, at in ends)

    @property
    def failed(self) -> list[Run]:
        """Those of its runs that diverged, or ended as bad as a guess."""
        guesses = [run for run in self.finished if run.final("train_error") > FAILED]
        return [*self.diverged, *guesses]

    def errors(self, column: str) -> pd.Series:
        """The last errors by seed, in percent; of runs that diverged there are none."""
        return pd.Series({run.seed: run.final(column) for run in self.finished}, dtype=float)

    def layers(self, column: str) -> pd.DataFrame:
        """What `layers_of` gives, as medians over the seeds that got so far."""
        return pd.concat([layers_of(run, column) for run in self.probed]).groupby(level=0).median()


def intervention(setting: Setting) -> str:
    """What a run has of `KEYS`, as its variant says it; "" for nothing."""
    texts = setting.variant.split(",")
    return ",".join(text for text in texts if text.partition("=")[0] in KEYS)


def kinds_of(runs: Iterable[Run], diverged: Iterable[Run] = ()) -> list[Kind]:
    """Group runs of one schedule, which differ in network, seed and `KEYS` alone.

    Plain networks come first, then by depth; of one network that without an intervention first.
    Raises UserError if a seed was trained twice.
    """
    kinds: dict[tuple, Kind] = {}
    for part, group in (("finished", runs), ("diverged", diverged)):
        for run in group:
            key = run.place, intervention(run.setting)
            kind = kinds.setdefault(key, Kind(run.model, key[1]))
            getattr(kind, part).append(run)
    for kind in kinds.values():
        check_alike(kind.all)
    order = sorted(kinds, key=lambda key: (key[0], key[1] != "", kinds[key].words))
    return [kinds[key] for key in order]


# ---------------------------------------------------------------- what probes measured


def layers_of(run: Run, column: str) -> pd.DataFrame:
    """What a run's probe measured of convolutions: a row an update, a column a layer, from 1."""
    rows = run.probe[run.probe["layer"] != "network"]
    rows = rows.assign(layer=rows.groupby("update").cumcount() + 1)
    return rows.pivot(index="update", columns="layer", values=column).astype(float)


@np.errstate(divide="ignore", invalid="ignore")  # gradients may be 0
def measure(run: Run) -> dict[str, float]:
    """Tell in numbers what a run's probe measured: the table in docs/why.md says what they are.

    A third is one of the network's convolutions. What is of an update that the run did not reach is
    NaN.
    """
    columns = ("output_gradient_norm", "relative_step", "kernel_norm", "cosine")
    columns += ("dead_share", "effective_rank", "channel_rank")
    backward, step, norm, cosine, dead, rank, channels = (layers_of(run, c) for c in columns)
    shattering = run.probe[run.probe["layer"] == "network"].set_index("update")["shattering"]
    third, growth, end = len(norm.columns) // 3, norm / norm.loc[0], norm.index[-1]
    lag, damage = (
        _geometric(table.iloc[:, :third]) / _geometric(table.iloc[:, -third:])
        for table in (step, growth)
    )
    spread = step.max(axis=1, skipna=False) / step.min(axis=1, skipna=False)
    between = len(norm.columns) - 2
    return {
        "rate": (backward[2] / backward.iloc[:, -1])[0] ** (1 / between),
        "lag_first": lag[0],
        "lag_lowest": lag.loc[1:].min(),
        "spread_first": spread[0],
        "spread_late": spread.loc[LATE:].max(),
        "damage": damage.max(),
        "cosine_first": cosine.iloc[:, :third].mean(axis=1).get(SETTLED),
        "cosine_last": cosine.iloc[:, -third:].mean(axis=1).get(SETTLED),
        "dead": 100 * dead.loc[end].mean(),
        "rank_first": rank.iloc[0, -1],
        "rank_end": rank.iloc[-1, -1],
        "channels_first": _geometric(channels)[0],
        "channels_end": _geometric(channels)[end],
        "shattering_first": shattering[0],
        "shattering_settled": shattering.get(SETTLED),
        "shattering_end": shattering[end],
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

    There is no difference for the network without, nor where all runs diverged. `bound` is what an
    interval must not leave for the two to be *equal*; NaN without plain-20 and plain-56.
    """

    kind: Kind
    column: str
    difference: Difference | None
    bound: float = np.nan

    @property
    def outcome(self) -> str:
        """*Lower*, *higher*, *equal* or neither, by the 95 % interval; and which runs failed."""
        failed, told = len(self.kind.failed), []
        if self.difference and self.difference.low is not None:
            low, high = self.difference.low, self.difference.high
            words = {
                "lower": high < 0,
                "higher": low > 0,
                "equal": -self.bound < low and high < self.bound,
            }
            told = [word for word, so in words.items() if so] or ["no difference shown"]
        elif self.difference:
            told = ["one seed"]
        if failed:
            told.append(f"{failed} of {len(self.kind.all)} failed")
        return ", ".join(told)


@dataclass(frozen=True)
class Gap:
    """An error of plain-56 minus that of plain-20, both with one intervention, on one schedule.

    `change` is this gap minus the one without intervention on the report's own schedule; None for
    that one itself, and where there is none.
    """

    shallow: Kind
    deep: Kind
    column: str
    difference: Difference
    change: Difference | None = None

    @property
    def schedule(self) -> dict[str, Any]:
        """The schedule's keys."""
        return self.deep.finished[0].config["schedule"]


def effects_of(kinds: list[Kind]) -> list[Effect]:
    """Set each intervention beside the same network without, for both errors.

    Networks that have runs only with, or only without one, are not there.
    """
    without = {kind.model: kind for kind in kinds if not kind.intervention and kind.finished}
    effects = []
    for kind in kinds:
        base = without.get(kind.model)
        if base is None or not any(k.intervention for k in kinds if k.model == kind.model):
            continue
        for column in _columns(kinds):
            bound = np.nan
            if {SHALLOW, DEEP} <= without.keys():
                means = [without[model].errors(column).mean() for model in (DEEP, SHALLOW)]
                bound = EQUAL * abs(means[0] - means[1])
            compared = kind is not base and kind.finished
            errors = kind.errors(column), base.errors(column)
            effects.append(Effect(kind, column, welch(*errors) if compared else None, bound))
    return effects


def gaps_of(kinds: list[Kind], around: list[Run]) -> list[Gap]:
    """Compare plain-56 with plain-20 on each schedule, by length, for each intervention of both.

    `kinds` are of one schedule, and `around` has runs of others; of one setting the first counts.
    """
    own = kinds[0].all[0].schedule
    groups = {own: kinds}
    unique = {run.setting: run for run in reversed(around)}.values()
    for name in {run.schedule for run in unique} - {*groups}:
        groups[name] = kinds_of(run for run in unique if run.schedule == name)
    gaps = []
    for group in groups.values():
        pairs = {(kind.model, kind.intervention): kind for kind in group if kind.finished}
        for (model, changed), deep in pairs.items():
            if model == DEEP and (shallow := pairs.get((SHALLOW, changed))):
                for column in _columns(group):
                    difference = welch(deep.errors(column), shallow.errors(column))
                    gaps.append(Gap(shallow, deep, column, difference))
    gaps.sort(key=lambda gap: (gap.schedule["iterations"], gap.deep.intervention))
    bases = {
        gap.column: gap for gap in gaps if gap.schedule["name"] == own and not gap.deep.intervention
    }
    return [_with_change(gap, bases.get(gap.column)) for gap in gaps]


def _with_change(gap: Gap, base: Gap | None) -> Gap:
    if base is None or gap is base:
        return gap
    groups = [kind.errors(gap.column) for it in (gap, base) for kind in (it.deep, it.shallow)]
    return replace(gap, change=contrast(groups, [1, -1, -1, 1]))


def _columns(kinds: list[Kind]) -> list[str]:
    return ["train_error", next(run.measured for kind in kinds for run in kind.finished)]


# ---------------------------------------------------------------- the section of a report


@dataclass(frozen=True)
class Why:
    """What a report tells of the question; `effects` and `gaps` need interventions."""

    kinds: list[Kind]
    effects: list[Effect]
    gaps: list[Gap]
    measures: list[dict[str, Any]]


def tell(runs: list[Run], found: list[Run], diverged: list[Run], around: list[Run]) -> Why | None:
    """Tell what the runs of a report show of the question; None if they show nothing.

    `found` and `diverged` are all runs that there are: of those on the same schedule the ones with
    interventions are taken, unless `runs` have one themselves. `around` has runs of any schedule.
    """
    schedule, variant = runs[0].schedule, runs[0].variant

    def alike(run: Run) -> bool:
        return run.setting.variant_without(*KEYS) == variant

    there = [run for run in found if run.schedule == schedule]
    changed = [run for run in there if alike(run) and run.variant != variant]
    lost = [run for run in diverged if run.schedule == schedule]
    lost = [run for run in lost if alike(run) or run.variant == variant]
    kinds = kinds_of([*runs, *changed], lost)
    effects = effects_of(kinds)
    measures = [measures_of(kind) for kind in kinds if kind.probed]
    gaps = gaps_of(kinds, [*filter(alike, around)]) if effects else []
    return Why(kinds, effects, gaps, measures) if effects or measures else None


# ---------------------------------------------------------------- figures


@dataclass(frozen=True)
class Drawing:
    """A figure that is laid out: its title, the text under it, and which kinds it shows."""

    figure: Figure
    title: str
    text: str
    kinds: list[Kind]


def draw_why(why: Why, runs: list[Run], out_dir: Path, suffix: str = "") -> list[Picture]:
    """Draw what `build_why` builds, to `out_dir`, as `draw_pictures` does."""
    return [
        write_picture(
            drawing.figure,
            out_dir / f"{name}{suffix}",
            drawing.title,
            drawing.text,
            f"{drawing.title}: {'; '.join(kind.name for kind in drawing.kinds)}",
        )
        for name, drawing in build_why(why, runs).items()
    ]


@matplotlib.style.context(STYLE)
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


def _gradients(kinds: list[Kind], runs: list[Run]) -> Drawing:
    """Lay out the norms of gradients: by the kernels above, by the convolutions' outputs below."""
    title = "Norms of gradients, layer by layer"
    columns = ("kernel_gradient_norm", "output_gradient_norm")
    grid = [[kind.layers(column) for kind in kinds] for column in columns]
    text = [
        "Norm of the mean loss's gradient, on fixed training images: above by each convolution's "
        f"kernel, below by its output, as it flows back; {LINES_ARE}"
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [table.loc[0, 2] / table.iloc[0, -1] for table in grid[0]]
        spreads = [(t.max(axis=1) / t.min(axis=1)).loc[SETTLED:].max() for t in grid[0]]
    for what, values in (
        ("Kernels, second convolution ÷ last, at update 0", ratios),
        (f"Kernels, largest layer ÷ smallest, the most from update {SETTLED} on", spreads),
    ):
        told = [f"{k.name} {factor(v)}" for k, v in zip(kinds, values, strict=True) if v == v]
        text += [f"{what}: {'; '.join(told)}."] * bool(told)
    limits = [_log_limits(tables) for tables in grid]
    if any(
        table.lt(low).any(axis=None)
        for tables, (low, _) in zip(grid, limits, strict=True)
        for table in tables
    ):
        text.append("Axes cut off what is smaller, and gradients of 0.")
    labels = ["by the kernel", "by the output"]
    return _by_update(title, kinds, grid, text, runs, limits, labels, logs=[True, True])


def _log_limits(tables: list[pd.DataFrame]) -> tuple[float, float]:
    """Limits of an axis that shows what is above 0, but no more than `DECADES`."""
    values = pd.concat([table.stack() for table in tables])
    values = values[(values > 0) & np.isfinite(values)]
    if values.empty:
        return 0.1, 10
    return max(values.min() / 1.5, 1.5 * values.max() / 10**DECADES), 1.5 * values.max()


def _damage(kinds: list[Kind], runs: list[Run]) -> Drawing:
    """Lay out what the first updates do to kernels: above their norms, below their directions."""
    growths, cosines = [], []
    for kind in kinds:
        norms = kind.layers("kernel_norm").loc[:SETTLED]
        growths.append(norms / norms.loc[0])
        cosines.append(kind.layers("cosine").loc[:SETTLED])
    title = f"What the first {cosines[0].index[-1]} updates do to the kernels"
    text = [
        "Above: norm of each convolution's kernel over its first one. Below: cosine between the "
        f"two; {LINES_ARE}"
    ]
    ends = pd.concat([table.stack() for table in growths])
    limits = [(min(0.9, ends.min() / 1.05), max(5.5, ends.max() * 1.1)), (-0.05, 1.05)]
    labels = ["norm ÷ first norm", "cosine with first"]
    grid = [growths, cosines]
    return _by_update(title, kinds, grid, text, runs, limits, labels, logs=[True, False])


def _by_update(
    title: str,
    kinds: list[Kind],
    grid: list[list[pd.DataFrame]],
    text: list[str],
    runs: list[Run],
    limits: list[tuple[float, float]],
    labels: list[str],
    logs: list[bool],
) -> Drawing:
    """Lay out rows of panels, a panel a kind and a line an update, of tables by update and layer.

    A row has its limits and label, and is logarithmic or not.
    """
    words = " ".join([*text, _seeds({kind: kind.probed for kind in kinds}), how_made(runs)])
    updates = sorted({update for table in grid[0] for update in table.index})
    scale = matplotlib.colormaps["viridis"]
    # By its logarithm, from dark to light, but not so light that it could not be seen.
    colours = {u: to_hex(scale(0.9 * np.log1p(u) / np.log1p(max(updates[-1], 1)))) for u in updates}

    def draw(axes: Axes, table: pd.DataFrame) -> None:
        place = axes.get_subplotspec()
        row = place.rowspan.start
        curves = [
            Curve("update", str(update), f"{update:,}", colours[update], values.to_frame(), None)
            for update, values in table.iterrows()
        ]
        draw_layers(axes, curves, limits[row], log=logs[row])
        if place.is_first_col():
            axes.set_ylabel(labels[row], fontsize=TEXT)
        if not place.is_last_row():
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)
        if place.is_first_row() and place.is_last_col():
            lines = [Line2D([], [], color=colours[u], label=f"{u:,}") for u in updates]
            style = {"fontsize": SMALL, "title_fontsize": SMALL, "frameon": False}
            space = {"handlelength": 1, "borderpad": 0, "labelspacing": 0.25, "alignment": "left"}
            beside = {"loc": "upper left", "bbox_to_anchor": (1.03, 1.02), "borderaxespad": 0}
            axes.legend(handles=lines, title="update", **style, **space, **beside)

    spec = {"title": title, "panels": [{"title": _in_two(kind.name)} for kind in kinds]}
    figure = lay_out(spec, words, grid, draw, "", 0.5 * HEIGHT, narrowest=1.15)
    return Drawing(figure, title, words, kinds)


def _in_two(name: str) -> str:
    return name.replace(", ", ",\n", 1)


def _interventions(why: Why, runs: list[Run]) -> Drawing:
    """Lay out three panels: both errors by intervention, and the gap by length of training."""
    title = "What changes plain-56, and what length does"
    columns = _columns(why.kinds)
    kinds = {(kind.model, kind.intervention): kind for kind in why.kinds}
    deep = [kind for kind in why.kinds if kind.model == DEEP]
    beside = {SHALLOW: COLOURS[20], SHORTCUTS: FAMILIES["ResNet"][1]}
    lines = {m: kinds[m, ""] for m in beside if (m, "") in kinds}
    panels = [
        (
            [_ends(kind, column, COLOURS[56]) for kind in deep],
            [
                replace(_ends(kind, column, beside[model]), label=kind.network)
                for model, kind in lines.items()
            ],
        )
        for column in columns
    ]
    highest = [max(curve.top for curve in sum(panel, []) if curve.seeds.size) for panel in panels]
    limit = 1.08 * max(highest)
    names = [f"{WORDS[column]} error" for column in columns]
    gaps = _gap_tables(why.gaps)
    grid = [*panels, *([gaps] if gaps else [])]
    names += ["plain-56 − plain-20"] * bool(gaps)

    def draw(axes: Axes, shown: Any) -> None:
        if shown is gaps:
            draw_gaps(axes, gaps)
        else:
            draw_interventions(axes, *shown, limit=limit)

    text = ["Left: every seed is a dot, and a bar their mean."]
    if lines:
        text.append(
            f"Lines: {' and '.join(kind.network for kind in lines.values())}, in the band that "
            "their seeds span."
        )
    if gaps:
        several = any(gap.difference.low is not None for gap in why.gaps)
        bars = ", with Welch's 95 % intervals" if several else ""
        schedules = {gap.schedule["name"]: gap.schedule["iterations"] for gap in why.gaps}
        lengths = [f"{name} ({iterations:,})" for name, iterations in schedules.items()]
        text.append(
            "Right: mean error of plain-56 minus that of plain-20, both without intervention, by "
            f"the length of training{bars}; schedules {', '.join(lengths)}."
        )
    known = [f"{kind.words} ({kind.intervention})" for kind in deep if kind.intervention]
    text.append(f"Interventions: {'; '.join(known)}.")
    words = " ".join(
        [*text, _seeds({kind: kind.all for kind in [*deep, *lines.values()]}), how_made(runs)]
    )
    spec = {"title": title, "panels": [{"title": name} for name in names]}
    height = max(0.32 * len(deep), 0.6 * HEIGHT)
    figure = lay_out(spec, words, [grid], draw, "", height, sharey=False)
    return Drawing(figure, title, words, deep)


def _ends(kind: Kind, column: str, colour: str) -> Curve:
    """Make a row, or a line, of last errors; its label says which seeds diverged."""
    lost = f"{len(kind.diverged)} of {len(kind.all)} diverged" if kind.diverged else ""
    label = "\n".join(filter(None, [_in_two(kind.words), lost]))
    errors = kind.errors(column).to_frame().T
    return Curve(kind.model, f"{column}-{kind.intervention or 'none'}", label, colour, errors, None)


def _gap_tables(gaps: list[Gap]) -> dict[str, pd.DataFrame]:
    """Tabulate the gaps without intervention for `draw_gaps`."""
    tables: dict[str, dict] = {}
    for gap in gaps:
        if not gap.deep.intervention:
            known = gap.difference.points, gap.difference.low, gap.difference.high
            tables.setdefault(gap.column, {})[gap.schedule["iterations"]] = known
    names = ["points", "low", "high"]
    return {
        column: pd.DataFrame.from_dict(rows, "index", columns=names, dtype=float)
        for column, rows in tables.items()
    }


def _seeds(shown: dict[Kind, list[Run]]) -> str:
    """Name the seeds of the runs shown, once if all kinds have the same, and what diverged."""
    owners: dict[str, list[str]] = {}
    for kind, runs in shown.items():
        owners.setdefault(", ".join(str(run.seed) for run in runs), []).append(kind.name)
    alike = len(owners) == 1
    told = [s if alike else f"{s} ({'; '.join(names)})" for s, names in owners.items()]
    fates = [f"{kind.name}: {kind.fate}." for kind in shown if kind.fate]
    return " ".join([f"Seeds: {'; '.join(told)}.", *fates])
