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
        if model in runs and json.loads(path.with_name("manifest.json").read_text())["ended"]:
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
        if len(known) == len(pairs) == 1:
            yield row(str(number), "…", *cells[0], f"**{verdict}**"), verdict
            continue
        yield row(str(number), "…", "", "", f"**{verdict}**"), verdict
        for (before, model), (points, between) in zip(known, cells, strict=True):
            yield row("", f"{name(model)} − {name(before)}", points, between), ""


def welch(later: np.ndarray, before: np.ndarray) -> pd.Series:
    """Welch's t: the difference of means, its 95 % interval and p; NaN for single seeds."""
    found = pd.Series({"points": later.mean() - before.mean(), "low": np.nan, "high": np.nan})
    if min(len(later), len(before)) < 2:
        return found
    assert min(later.std(ddof=1), before.std(ddof=1)) >= 0.01  # closer seeds count as one image
    test = stats.ttest_ind(later, before, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return pd.Series({"points": found.points, "low": low, "high": high, "p": test.pvalue})


def judge(tests: list[pd.Series], sign: int, schedule: str) -> str:
    """All pairs as claimed at 95 %; or one of k the other way at 1 − 0.05/k; or undecided."""
    good, bad = {
        True: ("reproduced", "not reproduced"),
        False: ("same direction", "opposite direction"),
    }[schedule == "paper"]
    if any(t.points * sign < 0 and t.get("p", 1) < 0.05 / len(tests) for t in tests):
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
        z = "–"
        if len(last) > 1:
            sigma = max(last.std(ddof=1), 0.2)
            z = signed((last.mean() - paper) / (sigma * (1 + 1 / len(last)) ** 0.5))
        points = paper_curve(model)
        minus = [
            np.interp(points.index, rows.index, rows["test_error"]) - points
            for rows in seeds.values()
        ]
        distance = np.mean([curve.loc[3_000:32_000].abs().mean() for curve in minus])
        later = np.mean([curve.loc[34_000:64_000].mean() for curve in minus])
        swing = [rows["test_error"].loc[20_000:32_000].diff().std() for rows in seeds.values()]
        swings = np.mean(swing) / 2**0.5, points.loc[20_000:32_000].diff().std() / 2**0.5
        cells = [signed(later), *(f"{value:.2f}" for value in swings)]
        cells.append(f"{response_distance(model, seeds):.2f}")
        start = [name(model), ", ".join(map(str, seeds)), f"{last.mean():.2f}"]
        yield row(*start, signed(last.mean() - paper), z, f"{distance:.2f}", *cells)


def paper_curve(model: str) -> pd.Series:
    """The paper's test errors, by iteration."""
    points = pd.read_csv(PAPER / "paper_figure6.csv").query("series == 'test' and panel != 'right'")
    return points[points.network == model].set_index("iteration")["error_percent"]


def paper_error(model: str) -> float:
    """The paper's final test error: Table 6; of plain networks, the end of Figure 6."""
    return TABLE6.get(model) or paper_curve(model).iloc[-1]


def response_distance(model: str, seeds: dict[int, pd.DataFrame]) -> float:
    """Mean of |ours ÷ paper's − 1| over the layers that Figure 7 has; NaN if it has none."""
    points = pd.read_csv(PAPER / "paper_figure7.csv").query("order == 'original'")
    paper = points[points.network == model].set_index("layer")["std"]
    distances = []
    for seed in seeds:
        ours = pd.read_csv(RECORDED / "paper" / model / f"seed{seed}" / "layers.csv")
        ours.index += 1
        distances.append((ours["response_std"] / paper - 1).abs().mean())
    return np.mean(distances)


def class_rows(runs: Runs, schedule: str) -> Iterator[str]:
    """Errors per class, of the model card: a row a class, means over the seeds."""
    means = []
    for model, seeds in runs.items():
        paths = [RECORDED / schedule / model / f"seed{seed}" / "classes.csv" for seed in seeds]
        means.append(np.mean([pd.read_csv(path)["error"] for path in paths], axis=0))
    labels = pd.read_csv(paths[0])["class"]
    for label, *cells in zip(labels, *means, strict=True):
        yield row(label, *(f"{error:.2f}" for error in cells))


WORDS = {"init=dirac": "near-identity kernels", "warmup.min_depth=20": "warm-up"} | {
    "norm=none": "no batch norm",
    "init=gaussian,norm=none": "no batch norm, N(0, 0.01) kernels",
}


def probes() -> dict[str, list[Path]]:
    """Files of the probes of docs/why.md on `short`, by network and intervention, seed by seed."""
    found: dict[str, list[Path]] = {}
    for path in sorted((RECORDED / "why" / "short").glob("*/seed*/probe.csv")):
        model, _, changes = path.parts[-3].partition(",")
        words = [name(model), *filter(None, [WORDS.get(changes, changes)])]
        found.setdefault(", ".join(words), []).append(path)
    return found


def last_errors(schedule: str, model: str, changes: str = "") -> pd.DataFrame:
    """Last errors of the runs for docs/why.md, a row a seed; of one that diverged, when."""
    root = RECORDED / "why" if changes or schedule == "short" else RECORDED
    found = {}
    for path in sorted((root / schedule / ",".join([model, changes]).strip(",")).glob("seed*")):
        about = json.loads((path / "manifest.json").read_text())
        if at := about.get("diverged_at"):
            found[int(path.name.removeprefix("seed"))] = pd.Series({"diverged_at": at})
        elif about["status"] == "complete":
            last = pd.read_csv(path / "metrics.csv").iloc[-1]
            found[int(path.name.removeprefix("seed"))] = last
    columns = ["train_error", "test_error", "diverged_at"]
    return pd.DataFrame.from_dict(found, orient="index").reindex(columns=columns)


def effect_rows() -> Iterator[str]:
    """What interventions do on `short`: both errors of each network, without and with."""
    without = {model: last_errors("short", model) for model in ("plain20", "plain56")}
    for model, base in without.items():
        with_one = {c: last_errors("short", model, c) for c in sorted(WORDS, key=WORDS.get)}
        with_one = {changes: ends for changes, ends in with_one.items() if len(ends)}
        for changes, ends in ({"": base} | with_one).items() if with_one else ():
            seeds = ", ".join(map(str, ends.index))
            lost = ends["diverged_at"].dropna()
            told = [f"seed {seed} diverged at iteration {at:,.0f}" for seed, at in lost.items()]
            seeds += f" ({', '.join(told)})" if told else ""
            failed = len(lost) + (ends["train_error"] > 85).sum()
            for column, word in (("train_error", "training"), ("test_error", "test")):
                start = [name(model), WORDS.get(changes, "none"), seeds, word]
                errors = ends[column].dropna()
                cells, outcome = ["", ""], []
                if changes and len(errors):
                    test = welch(errors, base[column])
                    cells = [signed(test.points), interval(test)]
                    gap = without["plain56"][column].mean() - without["plain20"][column].mean()
                    outcome.append(compare(test, abs(gap) / 5))
                outcome += [f"{failed} of {len(ends)} failed"] if failed else []
                outcome = f"**{', '.join(outcome)}**" if outcome else ""
                yield row(*start, spread(errors), *cells, outcome)


def compare(test: pd.Series, bound: float) -> str:
    """What a difference to the network without an intervention shows."""
    if np.isnan(test.low):
        return "one seed"
    if test.low > 0 or test.high < 0:
        word = "higher" if test.low > 0 else "lower"
        return f"{word}, equal" if -bound < test.low and test.high < bound else word
    return "equal" if -bound < test.low and test.high < bound else "no difference shown"


def gap_rows() -> Iterator[str]:
    """plain-56 minus plain-20 on each schedule, without and with interventions."""
    own = [last_errors("short", model) for model in ("plain56", "plain20")]
    for schedule, length in (("short", 4_000), ("medium", 16_000), ("paper", 64_000)):
        for changes in ("", *WORDS):
            deep, shallow = (last_errors(schedule, m, changes) for m in ("plain56", "plain20"))
            for column, word in (("train_error", "training"), ("test_error", "test")):
                pair = [ends[column].dropna() for ends in (deep, shallow)]
                if not all(map(len, pair)):
                    continue
                gap, change = welch(*pair), ["", ""]
                if (schedule, changes) != ("short", ""):
                    test = contrast([*pair, *(ends[column] for ends in own)], [1, -1, -1, 1])
                    change = [signed(test.points), interval(test)]
                start = [schedule, f"{length:,}", WORDS.get(changes, "none"), word]
                errors = [spread(values) for values in reversed(pair)]
                yield row(*start, *errors, signed(gap.points), interval(gap), *change)


def contrast(groups: list[pd.Series], weights: list[int]) -> pd.Series:
    """A weighted sum of means, with Welch's interval and Satterthwaite's degrees of freedom."""
    points = sum(weight * group.mean() for group, weight in zip(groups, weights, strict=True))
    if min(map(len, groups)) < 2:
        return pd.Series({"points": points, "low": np.nan, "high": np.nan})
    squares = np.array([group.sem() ** 2 for group in groups])
    freedom = squares.sum() ** 2 / sum(
        square**2 / (len(group) - 1) for group, square in zip(groups, squares, strict=True)
    )
    low, high = stats.t.interval(0.95, freedom, points, squares.sum() ** 0.5)
    return pd.Series({"points": points, "low": low, "high": high})


def probe_row(network: str, paths: list[Path]) -> str:
    """What the probes of some seeds measured: medians over the seeds, as docs/why.md has them."""
    values = pd.DataFrame([measure(pd.read_csv(path)) for path in paths]).median()
    cells = {key: factor(value) for key, value in values.items()}
    for key in ("cosine first", "cosine last", "shattering 0", "shattering 100", "shattering end"):
        cells[key] = "–" if np.isnan(values[key]) else f"{values[key]:.2f}".replace("-", "−")
    arrows = [
        ("lag 0", "lag"),
        ("steps 0", "steps"),
        ("rank 0", "rank"),
        ("channels 0", "channels"),
    ]
    lag, steps, rank, channels = (f"{cells[a]} → {cells[b]}" for a, b in arrows)
    cosines = f"{cells['cosine first']}, {cells['cosine last']}"
    shattering = " → ".join(cells[f"shattering {when}"] for when in (0, 100, "end"))
    start = [network, cells["a layer"], lag, steps, cells["damage"], cosines]
    return row(*start, f"{values['dead']:.1f}", rank, channels, shattering)


def measure(probe: pd.DataFrame) -> dict[str, float]:
    """What one run's probe measured."""
    network = probe[probe.layer == "network"].set_index("update")["shattering"]
    layers = dict(iter(probe[probe.layer != "network"].groupby("update")))
    first, end = layers[0], layers[max(layers)]
    third, count = len(first) // 3, len(first)
    settled = layers.get(100, first.assign(cosine=np.nan))["cosine"].to_numpy()

    def parts(values: np.ndarray) -> float:
        return stats.gmean(values[:third]) / stats.gmean(values[-third:])

    steps = {update: rows["relative_step"].to_numpy() for update, rows in layers.items()}
    spread = {update: step.max() / step.min() for update, step in steps.items()}
    growth = [
        (rows["kernel_norm"].to_numpy() / first["kernel_norm"]).array for rows in layers.values()
    ]
    backward = first["output_gradient_norm"].to_numpy()
    return {
        "a layer": (backward[1] / backward[-1]) ** (1 / (count - 2)),
        "lag 0": parts(steps[0]),
        "lag": min(parts(step) for update, step in steps.items() if update),
        "steps 0": spread[0],
        "steps": max((value for update, value in spread.items() if update >= 400), default=np.nan),
        "damage": max(parts(np.asarray(grown)) for grown in growth),
        "cosine first": settled[:third].mean(),
        "cosine last": settled[-third:].mean(),
        "dead": 100 * end["dead_share"].mean(),
        "rank 0": first["effective_rank"].iloc[-1],
        "rank": end["effective_rank"].iloc[-1],
        "channels 0": stats.gmean(first["channel_rank"]),
        "channels": stats.gmean(end["channel_rank"]),
        "shattering 0": network[0],
        "shattering 100": network.get(100, np.nan),
        "shattering end": network.iloc[-1],
    }


def factor(value: float) -> str:
    """A factor, to three digits or fewer."""
    if np.isnan(value):
        return "–"
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
        parts += [effect_rows(), gap_rows(), [probe_row(*pair) for pair in probes().items()]]
    for lines in parts:
        print("", *lines, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
