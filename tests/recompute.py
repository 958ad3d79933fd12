"""What README and reports must say of the recorded runs, by pandas and SciPy alone.

`python tests/recompute.py short` makes the rows of their tables from the runs' files, without a
line of the package, and prints them. `…` stands for words. `test_recorded` looks for every row.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "results" / "recorded"
PAPER = ROOT / "src" / "degradation" / "report"  # where its curves are, as digitised
PARAMETERS = {20: "269,722", 32: "464,154", 56: "853,018"}
TABLE6 = {"resnet20": 8.75, "resnet32": 7.51, "resnet56": 6.97}  # test errors, percent
PLAIN, RESIDUAL = (["plain20", "plain32", "plain56"], ["resnet20", "resnet32", "resnet56"])
CLAIMS = [  # column; +1 if the later network of each pair has the higher error; pairs
    ("train_error", 1, [("plain20", "plain56")]),
    ("test_error", 1, [("plain20", "plain56")]),
    ("train_error", -1, [("resnet20", "resnet56")]),
    ("test_error", -1, [("resnet20", "resnet56")]),
    ("test_error", -1, list(zip(PLAIN, RESIDUAL, strict=True))),
    ("test_error", 1, list(pairwise(PLAIN))),
    ("test_error", -1, list(pairwise(RESIDUAL))),
]
Runs = dict[str, dict[int, pd.DataFrame]]  # rows of metrics.csv, by network and seed


def load(schedule: str) -> Runs:
    """Read the finished runs of a schedule that have no overrides."""
    runs: Runs = {model: {} for model in [*PLAIN, *RESIDUAL]}
    for path in sorted((RECORDED / schedule).glob("*/seed*/metrics.csv")):
        model, seed = path.parts[-3], int(path.parts[-2].removeprefix("seed"))
        status = json.loads(path.with_name("manifest.json").read_text())["status"]
        if model in runs and status == "complete":
            runs[model][seed] = pd.read_csv(path).set_index("iteration")
    return {model: seeds for model, seeds in runs.items() if seeds}


def errors(runs: Runs, model: str, column: str) -> np.ndarray:
    """The last errors of a network, in percent, a seed after the other."""
    return np.array([rows[column].iloc[-1] for rows in runs[model].values()])


def error_rows(runs: Runs, schedule: str) -> Iterator[str]:
    """Final errors: a row a network."""
    for model, seeds in runs.items():
        cells = [name(model), PARAMETERS[depth(model)], ", ".join(map(str, seeds))]
        for column in ("train_error", "test_error"):
            cells.append(spread(errors(runs, model, column)))
        cells.append(f"{np.mean([rows['test_error'].min() for rows in seeds.values()]):.2f}")
        if schedule == "paper":
            cells.append(f"{paper_error(model):.2f}")
        yield row(*cells)


def claim_rows(runs: Runs, schedule: str) -> Iterator[tuple[str, str]]:
    """The paper's claims, each with its verdict; for several pairs, a row for each pair."""
    for number, (column, sign, pairs) in enumerate(CLAIMS, 1):
        known = [pair for pair in pairs if set(pair) <= runs.keys()]
        tests = [welch(*(errors(runs, m, column) for m in reversed(pair))) for pair in known]
        cells = [(signed(t.points), interval(t)) for t in tests]
        verdict = judge(tests, sign, schedule) if len(known) == len(pairs) else "runs missing"
        alone = len(known) == len(pairs) == 1
        shown = cells[0] if alone else ("", "")
        yield row(str(number), "…", *shown, f"**{verdict}**"), verdict
        for (before, model), between in zip(known, cells, strict=True) if not alone else ():
            yield row("", f"{name(model)} − {name(before)}", *between), ""


def contrast(groups: Sequence[Sequence[float]], weights: Sequence[int]) -> pd.Series:
    """A weighted sum of means, its 95 % interval by Welch and Satterthwaite, and p; or NaN."""
    points = sum(w * np.mean(group) for group, w in zip(groups, weights, strict=True))
    found = pd.Series({"points": points, "low": np.nan, "high": np.nan, "p": 1})
    sizes = np.array([len(group) for group in groups])
    if min(sizes) < 2:
        return found
    # Seeds that are closer than one image count as that.
    squares = np.array([max(np.std(group, ddof=1), 0.01) ** 2 for group in groups]) / sizes
    freedom, error = squares.sum() ** 2 / (squares**2 / (sizes - 1)).sum(), squares.sum() ** 0.5
    found["low"], found["high"] = stats.t.interval(0.95, freedom, points, error)
    found["p"] = 2 * stats.t.sf(abs(points) / error, freedom)
    return found


def welch(later: Sequence[float], before: Sequence[float]) -> pd.Series:
    """`contrast` of two groups; unless seeds are too close, SciPy's own test says the same."""
    found = contrast([later, before], [1, -1])
    if min(len(later), len(before)) > 1 and min(np.std(later), np.std(before)) > 0.01:
        test = stats.ttest_ind(later, before, equal_var=False)
        np.testing.assert_allclose(found[["low", "high"]], test.confidence_interval(0.95))
        np.testing.assert_allclose(found["p"], test.pvalue)
    return found


def judge(tests: list[pd.Series], sign: int, schedule: str) -> str:
    """All pairs as claimed at 95 %; or one of k the other way at 1 − 0.05/k; or undecided."""
    good, bad = "same direction", "opposite direction"
    if schedule == "paper":
        good, bad = "reproduced", "not reproduced"
    if any(t.points * sign < 0 and t.p < 0.05 / len(tests) for t in tests):
        return bad
    return good if all(min(sign * t.low, sign * t.high) > 0 for t in tests) else "undecided"


def headline(verdicts: list[str]) -> str:
    """How many claims have which verdict."""
    counts = Counter(filter(None, verdicts))
    order = ("reproduced", "same direction", "not reproduced", "opposite direction", "undecided")
    told = [f"{counts[verdict]} {verdict}" for verdict in order if counts[verdict]]
    if missing := counts["runs missing"]:
        told.append(f"{missing} not judged (runs missing)")
    return f"The paper's claims: {', '.join(told)}."


def paper_rows(runs: Runs) -> Iterator[str]:
    """Each network beside Table 6 and Figures 6 and 7."""
    for model, seeds in runs.items():
        last, paper = errors(runs, model, "test_error"), paper_error(model)
        away, z = last.mean() - paper, "–"
        if len(last) > 1:
            z = signed(away / (max(last.std(ddof=1), 0.2) * (1 + 1 / len(last)) ** 0.5))
        points = paper_curve(model)
        minus = [
            np.interp(points.index, rows.index, rows["test_error"]) - points
            for rows in seeds.values()
        ]
        distance = np.mean([curve.loc[3_000:32_000].abs().mean() for curve in minus])
        later = np.mean([curve.loc[34_000:64_000].mean() for curve in minus])
        swing = [rows["test_error"].loc[20_000:32_000].diff().std() for rows in seeds.values()]
        paper_swing = points.loc[20_000:32_000].diff().std()
        yield row(
            *(name(model), ", ".join(map(str, seeds)), f"{last.mean():.2f}", signed(away), z),
            f"{distance:.2f} ({len(points.loc[3_000:32_000])})",
            *(signed(later), f"{np.mean(swing) / 2**0.5:.2f}", f"{paper_swing / 2**0.5:.2f}"),
            response_distance(model, seeds),
        )


def paper_curve(model: str) -> pd.Series:
    """The paper's test errors, by iteration."""
    points = pd.read_csv(PAPER / "paper_figure6.csv").query("series == 'test' and panel != 'right'")
    return points[points.network == model].set_index("iteration")["error_percent"]


def paper_error(model: str) -> float:
    """The paper's final test error: Table 6; of plain networks, the end of Figure 6."""
    return TABLE6.get(model) or paper_curve(model).iloc[-1]


def response_distance(model: str, seeds: dict[int, pd.DataFrame]) -> str:
    """Mean of |ours ÷ paper's − 1| over the layers that Figure 7 has; a dash if it has none."""
    points = pd.read_csv(PAPER / "paper_figure7.csv").query("order == 'original'")
    paper = points[points.network == model].set_index("layer")["std"]
    distances = []
    for seed in seeds:
        ours = pd.read_csv(RECORDED / "paper" / model / f"seed{seed}" / "layers.csv")
        ours.index += 1
        distances.append((ours["response_std"] / paper - 1).abs().mean())
    return "–" if np.isnan(distances).all() else f"{np.mean(distances):.2f}"


def class_rows(runs: Runs, schedule: str) -> Iterator[str]:
    """Errors per class, of the model card: a row a class, means over the seeds."""
    means = []
    for model, seeds in runs.items():
        paths = [RECORDED / schedule / model / f"seed{seed}" / "classes.csv" for seed in seeds]
        means.append(np.mean([pd.read_csv(path)["error"] for path in paths], axis=0))
    labels = pd.read_csv(paths[0])["class"]
    for label, *cells in zip(labels, *means, strict=True):
        yield row(label, *(f"{error:.2f}" for error in cells))


WORDS = {  # of docs/why.md, in the order of its reports
    "": "none",
    "init=dirac": "near-identity kernels",
    "norm=none": "no batch norm",
    "init=gaussian,norm=none": "no batch norm, N(0, 0.01²) kernels",
    "warmup.min_depth=20": "warm-up",
}
ERRORS = {"train_error": "training", "test_error": "test"}


def why_runs(schedule: str, model: str, changes: str = "") -> pd.DataFrame:
    """The runs of a network for docs/why.md, a row a seed: last errors, fate, and their folder."""
    root = RECORDED / "why" if changes or schedule == "short" else RECORDED
    found = {}
    for path in sorted((root / schedule / ",".join([model, changes]).strip(",")).glob("seed*")):
        about = json.loads((path / "manifest.json").read_text())
        if about["status"] in ("complete", "diverged"):
            seed, complete = int(path.name.removeprefix("seed")), about["status"] == "complete"
            last = pd.read_csv(path / "metrics.csv")[[*ERRORS]].iloc[-1] if complete else {}
            found[seed] = {"path": path, "diverged_at": about.get("diverged_at"), **last}
    columns = ["path", "diverged_at", *ERRORS]
    return pd.DataFrame.from_dict(found, orient="index").reindex(columns=columns)


def fate(runs: pd.DataFrame) -> str:
    """Which seeds diverged, in brackets."""
    lost = runs["diverged_at"].dropna().items()
    told = ", ".join(f"seed {seed} diverged at iteration {at:,.0f}" for seed, at in lost)
    return f" ({told})" if told else ""


def outcome(
    test: pd.Series | None, schedule: str, column: str, *groups: pd.DataFrame, bases=()
) -> str:
    """What a difference shows, by a fifth of a schedule's gap without interventions; who failed."""
    told = []
    if test is not None:
        ends = [why_runs(schedule, model)[column].mean() for model in ("plain56", "plain20")]
        bound = abs(ends[0] - ends[1]) / 5
        word = "lower" if test.high < 0 else "higher" if test.low > 0 else "no difference shown"
        word = "equal" if -bound < test.low and test.high < bound else word
        told.append("no interval" if np.isnan(test.low) else word)
    for tables, which in ((groups, ""), (bases, " in the comparison")):
        runs = pd.concat(tables) if tables else why_runs("none", "none")
        if failed := (runs["diverged_at"].notna() | (runs["train_error"] > 85)).sum():
            told.append(f"{failed} of {len(runs)}{which} failed")
    return f"**{', '.join(told)}**" if told else ""


def effect_rows() -> Iterator[str]:
    """What interventions do on `short`: both errors of each network, without and with."""
    plain, changed = [("plain20", "plain20"), ("plain56", "plain56")], list(WORDS)[1:]
    for model, beside in [*plain, ("resnet56", "plain56")]:
        if not any(len(why_runs("short", beside, changes)) for changes in changed):
            continue
        for changes, words in WORDS.items():
            runs, base = why_runs("short", model, changes), why_runs("short", beside)
            seeds = ", ".join(map(str, runs.index)) + fate(runs)
            for column, error in ERRORS.items() if len(runs) else ():
                ends, test = runs[column].dropna(), None
                if len(ends) and (model, changes) != (beside, ""):
                    test = welch(ends, base[column].dropna())
                cells = ["", ""] if test is None else [signed(test.points), interval(test)]
                start = [name(model), words if model == beside else "shortcuts", seeds, error]
                bases = [] if (model, changes) == (beside, "") else [base]
                shown = outcome(test, "short", column, runs, bases=bases)
                yield row(*start, spread(ends), *cells, shown)


def gap_rows() -> Iterator[str]:
    """plain-56 minus plain-20 on each schedule, without and with interventions."""
    for schedule in ("short", "medium", "paper"):
        for changes in sorted(WORDS):
            pair = [why_runs(schedule, model, changes) for model in ("plain56", "plain20")]
            length = schedule if changes else "short"
            base = [why_runs(length, model) for model in ("plain56", "plain20")]
            ended = [runs[runs["diverged_at"].isna()] for runs in reversed(pair)]
            seeds = [", ".join(map(str, runs.index)) for runs in ended]
            for column, error in ERRORS.items():
                deep, shallow = (runs[column].dropna() for runs in pair)
                if not len(deep) or not len(shallow):
                    continue
                gap, cells = welch(deep, shallow), ["", "", ""]
                if (schedule, changes) != ("short", "") and all(map(len, base)):
                    ends = [runs[column].dropna() for runs in base]
                    test = contrast([deep, shallow, *ends], [1, -1, -1, 1])
                    shown = outcome(test, length, column, *pair, bases=base)
                    cells = [signed(test.points), interval(test), shown]
                start = [schedule, "; ".join(dict.fromkeys(seeds)), WORDS[changes], error]
                errors = [spread(ends) for ends in (shallow, deep)]
                yield row(*start, *errors, signed(gap.points), interval(gap), *cells)


def probe_rows() -> Iterator[str]:
    """What probes on `short` measured, a row a network and intervention: medians over the seeds."""
    for model in ("plain20", "plain56", "resnet56"):
        for changes, words in WORDS.items():
            runs = why_runs("short", model, changes)
            probed = [run for _, run in runs.iterrows() if (run["path"] / "probe.csv").exists()]
            if probed:
                network = ", ".join([name(model), *[words] * (changes != "")]) + fate(runs)
                yield probe_row(network, pd.DataFrame(map(measure, probed)).median())


MEASURES = (  # columns of that table, by what `measure` has
    *("{growth}", "{lag 0} → {lag}", "{spread 0} → {spread}", "{damage}"),
    *("{cosine first}, {cosine last}", "{dead}", "{rank 0} → {rank}"),
    *("{channels 0} → {channels}", "{shattering 0} → {shattering 100} → {shattering end}"),
)


def probe_row(network: str, values: pd.Series) -> str:
    """What a probe measured, as a row."""
    cells = {key: factor(value) for key, value in values.items()}
    for key in values.index[values.index.str.startswith(("cosine", "shattering", "dead"))]:
        told = f"{values[key]:.{1 if key == 'dead' else 2}f}".replace("-", "−")
        cells[key] = "–" if np.isnan(values[key]) else told
    return row(network, *(words.format(**cells) for words in MEASURES))


@np.errstate(all="ignore")  # gradients may be 0
def measure(run: pd.Series) -> dict[str, float]:
    """What one run's probe measured; one that diverged has no end."""
    probe = pd.read_csv(run["path"] / "probe.csv")
    network = probe[probe.layer == "network"].set_index("update")["shattering"]
    layers = dict(iter(probe[probe.layer != "network"].groupby("update")))
    first, last = layers[0], max(layers)
    third, nothing = len(first) // 3, first.assign(**dict.fromkeys(probe, np.nan))
    end = layers[last] if pd.isna(run["diverged_at"]) else nothing
    settled = layers.get(100, nothing)["cosine"].to_numpy()

    def parts(values: np.ndarray) -> float:
        return stats.gmean(values[:third]) / stats.gmean(values[-third:])

    steps = {update: rows["relative_step"].to_numpy() for update, rows in layers.items()}
    spread = pd.Series({update: step.max() / step.min() for update, step in steps.items()})
    norms = [rows["kernel_norm"].to_numpy() for rows in layers.values()]
    backward = first["output_gradient_norm"].to_numpy()
    return {
        "growth": (backward[1] / backward[-1]) ** (1 / (len(first) - 2)),
        "lag 0": parts(steps[0]),
        "lag": pd.Series([parts(step) for update, step in steps.items() if update]).min(),
        "spread 0": spread[0],
        "spread": spread.loc[400:].max(),
        "damage": pd.Series([parts(norm / norms[0]) for norm in norms]).max(),
        "cosine first": settled[:third].mean(),
        "cosine last": settled[-third:].mean(),
        "dead": 100 * end["dead_share"].mean(),
        "rank 0": first["effective_rank"].iloc[-1],
        "rank": end["effective_rank"].iloc[-1],
        "channels 0": stats.gmean(first["channel_rank"]),
        "channels": stats.gmean(end["channel_rank"]),
        "shattering 0": network[0],
        "shattering 100": network.get(100, np.nan),
        "shattering end": network[last] if end is not nothing else np.nan,
    }


def factor(value: float) -> str:
    """A factor, to three digits or fewer."""
    if np.isnan(value):
        return "–"
    if value in (0, np.inf):
        return "∞" if value else "0"
    if not 0.001 <= value < 1e6:
        return f"{value:.0e}".replace("-", "−")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def depth(model: str) -> int:
    """Layers of a network."""
    return int(model[-2:])


def name(model: str) -> str:
    """A network's name in text."""
    return f"{'ResNet' if model in RESIDUAL else 'plain'}-{depth(model)}"


def signed(value: float) -> str:
    """A number with its sign, never −0.00."""
    return f"{value:+z.2f}".replace("-", "−")


def spread(values: Sequence[float]) -> str:
    """The mean over seeds and, of several, their standard deviation."""
    if len(values) < 2:
        return f"{np.mean(values):.2f}" if len(values) else "–"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def interval(test: pd.Series) -> str:
    """A 95 % interval; a dash where there is none."""
    return "–" if np.isnan(test.low) else f"{signed(test.low)} to {signed(test.high)}"


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def main(schedule: str) -> None:
    """Print every row of a schedule."""
    runs = load(schedule)
    claims = [*claim_rows(runs, schedule)]
    print(headline([verdict for _, verdict in claims]))
    parts = [[line for line, _ in claims], error_rows(runs, schedule), class_rows(runs, schedule)]
    if schedule == "paper":
        parts.append(paper_rows(runs))
    if schedule == "short":
        parts += [effect_rows(), gap_rows(), probe_rows()]
    for lines in parts:
        print("", *lines, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
