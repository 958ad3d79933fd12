"""Runs as tables: the loader's DataFrame, curves.csv and summary.csv."""

import numpy as np
import pandas as pd
import pytest
from command_line import refusal
from report_samples import write_run, write_runs

from degradation.report import find_runs, load_runs
from degradation.report.export import write_export

KEY = ["run", "iteration", "metric"]


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


class TestLoadRuns:
    def test_has_every_number_of_every_run_once(self, tmp_path):
        write_runs(tmp_path, ["plain20"], (0, 1))
        write_run(tmp_path, "resnet56", 0, "paper", precision="float32")
        table = load_runs(tmp_path)
        assert not table.duplicated(KEY).any()
        for run in find_runs(tmp_path):
            rows = table[table["run"] == run.path.relative_to(tmp_path).as_posix()]
            for name in ("model", "variant", "schedule", "seed", "precision"):
                assert (rows[name] == getattr(run, name)).all()
            wide = rows.pivot(index="iteration", columns="metric", values="value").reset_index()
            wide = wide[run.rows.columns].rename_axis(columns=None)
            pd.testing.assert_frame_equal(wide, run.rows, check_exact=True, check_column_type=False)

    def test_columns_and_types_are_the_same_with_and_without_runs(self, tmp_path):
        empty = load_runs(tmp_path)
        write_run(tmp_path)
        table = load_runs(str(tmp_path))
        assert list(table.columns) == [
            *("run", "model", "variant", "schedule", "seed", "precision"),
            *("iteration", "metric", "value"),
        ]
        assert empty.empty and list(empty.dtypes) == list(table.dtypes)
        assert table["iteration"].dtype == int and table["value"].dtype == float

    def test_unfinished_runs_are_left_out(self, tmp_path):
        write_run(tmp_path)
        write_run(tmp_path, "plain56", status="interrupted")
        assert set(load_runs(tmp_path)["model"]) == {"plain20"}

    def test_a_folder_that_is_not_there_is_an_error(self, tmp_path):
        assert "nowhere: no such folder" in refusal(load_runs, tmp_path / "nowhere")


class TestWriteExport:
    def test_curves_are_the_loaders_rows_to_the_last_bit(self, tmp_path):
        curves, _ = write_export(write_runs(tmp_path / "runs", ["plain20"], (0, 1)), tmp_path)
        written = read(curves)
        assert list(written.columns) == ["run", "seed", "iteration", "metric", "value"]
        table = load_runs(tmp_path / "runs")[written.columns]
        pd.testing.assert_frame_equal(written, table, check_exact=True)

    def test_summary_has_a_row_a_run(self, tmp_path):
        about = {"parameters": 853018, "images_per_second": 223.2, "wall_seconds": 2604.2}
        write_run(tmp_path / "runs", "plain56", 3, git_commit="c0ffee", **about)
        write_run(tmp_path / "runs", "resnet20")
        runs = find_runs(tmp_path / "runs")
        _, summary = write_export(runs, tmp_path)
        deep, shallow = read(summary).to_dict("records")
        last = runs[0].rows.iloc[-1]
        assert deep == {
            "run": "short/plain56/seed3",
            "network": "plain-56",
            "model": "plain56",
            "variant": pytest.approx(np.nan, nan_ok=True),
            "schedule": "short",
            "seed": 3,
            "precision": "bfloat16",
            **about,
            "data": "CIFAR-10, 97 of 60,000 images from JPEG",
            "iterations": 4000,
            "final_train_loss": last["train_loss"],
            "final_train_error": last["train_error"],
            "final_test_loss": last["test_loss"],
            "final_test_error": last["test_error"],
            "best_test_error": runs[0].rows["test_error"].min(),
            "best_iteration": runs[0].rows.set_index("iteration")["test_error"].idxmin(),
            "git_commit": "c0ffee",
        }
        assert shallow["network"] == "ResNet-20" and pd.isna(shallow["parameters"])
        assert ",853018," in summary.read_text()  # an integer, though the other run has none

    def test_summary_of_runs_with_and_without_a_held_out_set(self, tmp_path):
        write_run(tmp_path / "runs", "plain20")
        write_run(tmp_path / "runs", settings={"data.holdout": 5000})
        _, summary = write_export(find_runs(tmp_path / "runs"), tmp_path)
        table = read(summary).set_index("variant")
        held_out = table.loc["holdout=5000"]
        assert held_out["final_val_error"] > 0 and held_out["best_val_error"] > 0
        assert pd.isna(held_out["final_test_error"])
