"""Why deeper plain networks are worse: what probes and interventions show (docs/why.md).

An intervention is a run's override of `KEYS`. Its runs stand beside those that have none, share
their schedule and are the same in all else. Runs that diverged are among them, as outcomes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

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
from degradation.report.statistics import Difference, welch
from degradation.setting import Setting

KEYS = ("init", "norm", "warmup.min_depth")
INTERVENTIONS = {  # in words
    "norm=none": "no batch norm",
    "init=dirac": "near-identity kernels",
    "init=gaussian": "N(0, 0.01) kernels",
    "warmup.min_depth=20": "warm-up",
}
SHALLOW, DEEP, SHORTCUTS = "plain20", "plain56", "resnet56"
EARLY, SETTLED = 20, 100  # updates: of the first damage; from which on gradients are compared
TURNED = 0.9  # a kernel whose cosine with its first state is below has another direction
DECADES = 10  # that the axis of gradients has at most
LINES_ARE = "a line an update, the thick one before training. Lines are means over the seeds."


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

    def errors(self, column: str) -> pd.Series:
        """The last errors by seed, in percent; of runs that diverged there are none."""
        return pd.Series({run.seed: run.final(column) for run in self.finished}, dtype=float)

    def layers(self, column: str) -> pd.DataFrame:
        """What probes measured of convolutions: a row an update, a column a layer, from 1.

        Means over the seeds: geometric ones, but for cosines and shares, which are not factors.
        """
        tables = []
        for run in self.probed:
            rows = run.probe[run.probe["layer"] != "network"]
            rows = rows.assign(layer=rows.groupby("update").cumcount() + 1)
            table = rows.pivot(index="update", columns="layer", values=column).astype(float)
            tables.append(table.where(np.isfinite(table)))
        if column in ("cosine", "dead_share"):
            return _mean(tables)
        with np.errstate(divide="ignore"):  # a gradient may be 0
            return np.exp(_mean([np.log(table) for table in tables]))

    def network_rows(self, column: str) -> pd.Series:
        """What probes measured of the network: means over the seeds, by update."""
        rows = [run.probe[run.probe["layer"] == "network"] for run in self.probed]
        return _mean([table.set_index("update")[[column]] for table in rows])[column]


def _mean(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables).astype(float).groupby(level=0).mean()


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


# ---------------------------------------------------------------- numbers


@dataclass(frozen=True)
class Effect:
    """One error of a network with an intervention, and its difference to the one without.

    There is no difference for the network without, nor where all runs diverged.
    """

    kind: Kind
    column: str
    difference: Difference | None

    @property
    def outcome(self) -> str:
        """*Lower* or *higher*, where the 95 % interval excludes 0."""
        if self.difference is None:
            return "" if self.kind.finished else "diverged"
        low, high = self.difference.low, self.difference.high
        if low is None:
            return "one seed"
        return "lower" if high < 0 else "higher" if low > 0 else "no difference shown"


@dataclass(frozen=True)
class Gap:
    """An error of plain-56 minus that of plain-20, both with one intervention, on one schedule."""

    shallow: Kind
    deep: Kind
    column: str
    difference: Difference

    @property
    def schedule(self) -> dict[str, Any]:
        """The schedule's keys."""
        return self.deep.finished[0].config["schedule"]


def effects_of(kinds: list[Kind]) -> list[Effect]:
    """Set each intervention beside the same network without, for both errors.

    Networks that have runs only with, or only without one, are not there.
    """
    effects = []
    for kind in kinds:
        same = [other for other in kinds if other.model == kind.model]
        without = same[0]
        if len(same) == 1 or without.intervention or not without.finished:
            continue
        for column in _columns(kinds):
            compared = kind is not without and kind.finished
            errors = kind.errors(column), without.errors(column)
            effects.append(Effect(kind, column, welch(*errors) if compared else None))
    return effects


def gaps_of(kinds: list[Kind], around: list[Run]) -> list[Gap]:
    """Compare plain-56 with plain-20 on each schedule, by length, for each intervention of both.

    `kinds` are of one schedule, and `around` has runs of others; of one setting the first counts.
    """
    groups = {kinds[0].all[0].schedule: kinds}
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
    return sorted(gaps, key=lambda gap: (gap.schedule["iterations"], gap.deep.intervention))


def _columns(kinds: list[Kind]) -> list[str]:
    return ["train_error", next(run.measured for kind in kinds for run in kind.finished)]


def measures_of(kind: Kind) -> dict[str, Any]:
    """Tell in numbers what a kind's probes measured; docs/why.md says what they decide.

    Pairs are of update 0 and a later one: the last, or for relative steps `SETTLED`. What was not
    reached before a run diverged is NaN.
    """
    gradients, steps = kind.layers("kernel_gradient_norm"), kind.layers("relative_step")
    growth, last = growth_of(kind), gradients.index[-1]
    factors = gradients[2] / gradients.iloc[:, -1]
    rank, shattering = kind.layers("effective_rank").iloc[:, -1], kind.network_rows("shattering")
    return {
        "name": kind.name,
        "factor": (factors[0], factors[last]),
        "rate": factors[0] ** (1 / (len(gradients.columns) - 2)),
        "spread": _spread(gradients).loc[SETTLED:].max(),
        "steps": (_spread(steps)[0], _spread(steps).get(SETTLED, np.nan)),
        "growth": growth.max(axis=1).get(SETTLED, np.nan),
        "cosine": kind.layers("cosine").min(axis=1).get(SETTLED, np.nan),
        "dead": 100 * kind.layers("dead_share").loc[last].max(),
        "rank": (rank[0], rank[last]),
        "shattering": (shattering[0], shattering[last]),
        "last": last,
    }


def growth_of(kind: Kind) -> pd.DataFrame:
    """Each kernel's norm over its first one, by update and layer."""
    norms = kind.layers("kernel_norm")
    return norms / norms.loc[0]


def _spread(table: pd.DataFrame) -> pd.Series:
    """The factor between the largest and the smallest layer, by update."""
    return table.max(axis=1) / table.min(axis=1)  # infinite where a gradient is 0


def factor(value: float) -> str:
    """Write a factor to three digits or fewer: 650, 4.13, 0.24; a dash where there is none."""
    if pd.isna(value):
        return "–"
    if value == 0 or np.isinf(value):
        return "∞" if value else "0"
    if not 0.001 <= value < 1e6:
        return f"{value:.0e}".replace("-", "−")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


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
    """Lay out the norms of the kernels' gradients: a panel a kind."""
    title = "Norms of gradients, layer by layer"
    tables = [kind.layers("kernel_gradient_norm") for kind in kinds]
    values = pd.concat([table.stack() for table in tables])
    values = values[values > 0]
    # There are none where every gradient is 0, too small for a float.
    bottom, top = (values.min() / 1.5, values.max() * 1.5) if len(values) else (0.1, 10)
    cut = bottom < top / 10**DECADES
    told = [measures_of(kind) for kind in kinds]
    text = [
        "Norm of the mean loss's gradient by each convolution's kernel, on fixed training images; "
        f"{LINES_ARE}",
        "Second convolution ÷ last, at update 0: "
        + "; ".join(f"{m['name']} {factor(m['factor'][0])}" for m in told)
        + ".",
    ]
    if settled := [f"{m['name']} {factor(m['spread'])}" for m in told if np.isfinite(m["spread"])]:
        text.append(
            f"Largest layer ÷ smallest, the most at any update from {SETTLED} on: "
            f"{'; '.join(settled)}."
        )
    if cut:
        bottom = top / 10**DECADES
        text.append(f"The axis cuts off norms below {factor(bottom)}.")
    if any((table == 0).any(axis=None) for table in tables):
        text.append("Gradients of 0 have no line.")
    draw = partial(_draw_updates, limits=[(bottom, top)], labels=["norm of the gradient"])
    spec = {"title": title, "panels": [{"title": _in_two(kind.name)} for kind in kinds]}
    words = " ".join([*text, _seeds({kind: kind.probed for kind in kinds}), how_made(runs)])
    figure = lay_out(spec, words, [[_lines(table) for table in tables]], draw, "", 0.8 * HEIGHT)
    return Drawing(figure, title, words, kinds)


def _damage(kinds: list[Kind], runs: list[Run]) -> Drawing:
    """Lay out what the first updates do to kernels: above their norms, below their directions."""
    growths = [growth_of(kind).loc[:SETTLED] for kind in kinds]
    cosines = [kind.layers("cosine").loc[:SETTLED] for kind in kinds]
    last = cosines[0].index[-1]
    title = f"What the first {last} updates do to the kernels"
    ends = pd.concat([table.stack() for table in growths])
    text = [
        "Above: norm of each convolution's kernel over its first one. Below: cosine between the "
        f"two; {LINES_ARE}"
    ]
    early = [
        f"{kind.name} {factor(growth[2][EARLY])}, {cosine[2][EARLY]:.2f}"
        for kind, growth, cosine in zip(kinds, growths, cosines, strict=True)
        if EARLY in growth.index
    ]
    if early:
        text.append(f"Second convolution at update {EARLY}, norm and cosine: {'; '.join(early)}.")
    turned = [
        f"{kind.name} {(cosine.loc[last] < TURNED).sum()} of {len(cosine.columns)}"
        for kind, cosine in zip(kinds, cosines, strict=True)
        if last in cosine.index
    ]
    text.append(f"Layers with a cosine below {TURNED} at update {last}: {'; '.join(turned)}.")
    limits = [(min(0.9, ends.min() / 1.05), max(5.5, ends.max() * 1.1)), (-0.05, 1.05)]
    labels = ["norm ÷ first norm", "cosine with first"]
    spec = {"title": title, "panels": [{"title": _in_two(kind.name)} for kind in kinds]}
    words = " ".join([*text, _seeds({kind: kind.probed for kind in kinds}), how_made(runs)])
    grid = [[_lines(table) for table in tables] for tables in (growths, cosines)]
    draw = partial(_draw_updates, limits=limits, labels=labels)
    figure = lay_out(spec, words, grid, draw, "", 0.5 * HEIGHT, narrowest=1.15)
    return Drawing(figure, title, words, kinds)


def _in_two(name: str) -> str:
    return name.replace(", ", ",\n", 1)


def _lines(table: pd.DataFrame) -> list[Curve]:
    """Make a curve of each update of a table by update and layer."""
    scale = matplotlib.colormaps["viridis"]
    last = np.log1p(table.index[-1])
    return [
        Curve(
            model="update",
            column=str(update),
            label=f"{update:,}",
            # By its logarithm, from dark to light, but not so light that it could not be seen.
            colour=to_hex(scale(0.9 * np.log1p(update) / last)),
            seeds=layers.to_frame(),
            paper=None,
        )
        for update, layers in table.iterrows()
    ]


def _draw_updates(
    axes: Axes, curves: list[Curve], limits: list[tuple[float, float]], labels: list[str]
) -> None:
    """Draw a panel of a figure whose rows have these `limits` and `labels`; the last has a key."""
    place = axes.get_subplotspec()
    row = place.rowspan.start
    draw_layers(axes, curves, limits[row], log=row == 0)
    if place.is_first_col():
        axes.set_ylabel(labels[row], fontsize=TEXT)
    if not place.is_last_row():
        axes.set_xlabel("")
        axes.tick_params(labelbottom=False)
    if place.is_first_row() and place.is_last_col():
        style = {"fontsize": SMALL, "title_fontsize": SMALL, "frameon": False}
        space = {"handlelength": 1, "borderpad": 0, "labelspacing": 0.25, "alignment": "left"}
        place = {"loc": "upper left", "bbox_to_anchor": (1.03, 1.02), "borderaxespad": 0}
        axes.legend(title="update", **style, **space, **place)


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
