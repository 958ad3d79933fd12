"""Runs as tables: final errors, a DataFrame for people who plot elsewhere, two CSV files."""

from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from degradation.errors import UserError
from degradation.records.files import replace_file
from degradation.report.paper import final_error
from degradation.report.provenance import named, seeds_of
from degradation.report.runs import Run, find_runs

ABOUT = {"model": str, "variant": str, "schedule": str, "seed": int, "precision": str}
LONG = {"run": str, **ABOUT, "iteration": int, "metric": str, "value": float}
CURVES = ["run", "seed", "iteration", "metric", "value"]


def final_errors(runs: list[Run]) -> list[dict[str, Any]]:
    """Give the last errors of each network, in percent: a row a network, in the order of `runs`.

    `train_error` and `test_error`, or with a held-out set `val_error`, have a value a seed.
    `best_error` is the mean of the lowest in each run: chosen on the very images that it was
    measured on. `paper` is the paper's test error, None unless all runs of the network follow it.
    """
    measured = runs[0].measured
    return [
        {
            "network": network,
            "parameters": group[0].manifest.get("parameters"),
            "seeds": seeds_of(group),
            "train_error": pd.Series([run.final("train_error") for run in group]),
            measured: pd.Series([run.final(measured) for run in group]),
            "best_error": fmean(run.rows[measured].min() for run in group),
            "paper": final_error(group[0].model) if all(r.faithful for r in group) else None,
        }
        for network, group in named(runs).items()
    ]


def class_errors(runs: list[Run]) -> pd.DataFrame:
    """Tabulate the last errors on each class, in percent, as means over the seeds.

    A row a class, a column a network, in the order of `runs`; networks whose runs recorded none are
    left out.
    """
    means = {
        network: pd.concat([run.classes for run in group], axis=1).mean(axis=1)
        for network, group in named(runs).items()
    }
    return pd.DataFrame({name: errors for name, errors in means.items() if errors.size})


def load_runs(folder: Path | str) -> pd.DataFrame:
    """Read the finished runs in and below `folder` as a tidy table.

    One row per run, iteration and metric. A subfolder `why` is passed over: give it as `folder`.

    Columns: `run` (its folder, relative to `folder`), `model`, `variant` (its overrides, "" if
    none), `schedule`, `seed`, `precision`, `iteration` (finished updates), `metric` and `value`.
    The metrics are the columns of metrics.csv: `train_error` and `test_error` in percent;
    `train_loss` and `test_loss`, cross-entropy in nats, without the L2 term; with a held-out set
    `val_error` and `val_loss` in place of the test's; `epoch`, `learning_rate`,
    `images_per_second`, and `wall_seconds` since the start. `curves.csv` has the same rows.

    A column a metric is one call away:
    `runs.pivot(index=["run", "model", "seed", "iteration"], columns="metric", values="value")`.

    A run that is unfinished or cannot be read is left out; no run gives a table without rows.
    Raises `UserError` if `folder` is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; allowed: one that holds runs, at any depth")
    return _long({run.path.relative_to(folder).as_posix(): run for run in find_runs(folder)})


def write_export(runs: list[Run], out_dir: Path, suffix: str = "") -> list[Path]:
    """Write `curves<suffix>.csv` and `summary<suffix>.csv` to `out_dir`, and return their paths.

    `curves` has a row a run, iteration and metric: run, seed, iteration, metric, value. `summary`
    has a row a run: what it was, its last losses and errors, the lowest error on unseen images
    (chosen on them) and its iteration, the speed. Units are those of `load_runs`. A run is named
    `<schedule>/<model>[,overrides]/seed<k>`, wherever it lies. Numbers are written with as many
    digits as bring them back exactly, and the same runs give the same bytes.

    Raises `UserError` (exit code 1) if a file cannot be written.
    """
    places = {run.setting.folder(Path()).as_posix(): run for run in runs}
    # As objects: a column of integers with a gap would become one of floats.
    summary = pd.DataFrame([_summary(name, run) for name, run in places.items()], dtype=object)
    paths = []
    for name, table in {"curves": _long(places)[CURVES], "summary": summary}.items():
        paths.append(out_dir / f"{name}{suffix}.csv")
        with replace_file(paths[-1]) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    return paths


def _long(places: dict[str, Run]) -> pd.DataFrame:
    """Stack the rows of runs, metric by metric; the keys are what to call the runs."""
    tables = [
        run.rows.melt("iteration", var_name="metric").assign(
            run=name, **{key: getattr(run, key) for key in ABOUT}
        )
        for name, run in places.items()
    ]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(LONG))
    return table[list(LONG)].astype(LONG)


def _summary(name: str, run: Run) -> dict[str, Any]:
    images = run.measured.removesuffix("_error")
    last, best = run.rows.iloc[-1], run.rows.loc[run.rows[run.measured].idxmin()]
    metrics = [f"{of}_{what}" for of in ("train", images) for what in ("loss", "error")]
    return {
        "run": name,
        "network": run.network,
        **{key: getattr(run, key) for key in ABOUT},
        "parameters": run.manifest.get("parameters"),
        "data": run.dataset,
        "iterations": int(last["iteration"]),
        **{f"final_{metric}": last.get(metric) for metric in metrics},
        f"best_{run.measured}": best[run.measured],
        "best_iteration": int(best["iteration"]),
        **{key: run.manifest.get(key) for key in ("images_per_second", "wall_seconds")},
        "git_commit": ", ".join(commit for commit, _ in run.code) or None,
    }
