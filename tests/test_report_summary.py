"""The closing words: final errors, their differences, and the verdict."""

import numpy as np
import pytest
from report_samples import (
    ENDS,
    FIGURE1,
    FIGURE6,
    SCHEDULES,
    SYNTHETIC,
    figure1_runs,
    make_rows,
    write_run,
)

from degradation.report import final_errors, find_runs, select, summary_text


class TestSummary:
    def test_final_errors_are_those_of_the_last_row(self, tmp_path):
        runs = figure1_runs(tmp_path, seeds=(0, 1))
        table = final_errors(FIGURE1, runs)
        assert list(table.columns) == ["network", "seeds", "train_error", "test_error"]
        assert list(table["network"]) == ["plain-20", "plain-56"]
        assert list(table["seeds"]) == ["0, 1", "0, 1"]
        for row, model in zip(table.itertuples(), ("plain20", "plain56"), strict=True):
            last = [run.rows.iloc[-1] for run in runs if run.model == model]
            assert row.train_error == pytest.approx(np.mean([r["train_error"] for r in last]))
            assert row.test_error == pytest.approx(np.mean([r["test_error"] for r in last]))

    def test_names_errors_differences_and_schedule(self, tmp_path):
        runs = figure1_runs(tmp_path)
        shallow, deep = (run.rows.iloc[-1] for run in select(runs, ["plain20", "plain56"], "short"))
        text = summary_text(FIGURE1, runs)
        assert f"{shallow['test_error']:.2f}" in text and f"{deep['train_error']:.2f}" in text
        for column, word in (("train_error", "training"), ("test_error", "test")):
            assert (
                f"plain-56 minus plain-20, {word} error: {deep[column] - shallow[column]:+.2f} "
                "points, same direction (one seed, no interval)"
            ) in text
        text = " ".join(text.split())
        assert "Schedule short: 4,000 iterations" in text
        assert "plain-56 has barely begun to learn" in text

    def test_names_data_that_are_not_cifar10(self, tmp_path):
        options = {"settings": {"data.name": "synthetic"}, "dataset": SYNTHETIC}
        text = summary_text(FIGURE1, figure1_runs(tmp_path, "paper", **options))
        assert "Data: synthetic data, not CIFAR-10." in " ".join(text.split())
        assert "same direction" in text and "reproduced" not in text

    def errors(self, root, schedule, shallow, deep, **options):
        """The verdicts where the final test errors over the seeds are these."""
        for model, ends in (("plain20", shallow), ("plain56", deep)):
            for seed, end in enumerate(ends):
                rows = make_rows(SCHEDULES[schedule], (end, end), seed, "test")
                rows[-1] |= {"train_error": float(end), "test_error": float(end)}
                write_run(root, model, seed, schedule, rows=rows, **options)
        return summary_text(FIGURE1, find_runs(root))

    @pytest.mark.parametrize(
        ("schedule", "shallow", "deep", "word"),
        [
            ("paper", [9], [13], "points, reproduced (one seed, no interval)"),
            ("paper", [13], [9], "points, not reproduced (one seed, no interval)"),
            ("paper", [9, 10], [11, 13], "points, reproduced (2 seeds, no interval)"),
            ("paper", [9, 12], [11, 13], "points, undecided (2 seeds, no interval)"),
            ("short", [9], [13], "points, same direction (one seed, no interval)"),
            ("short", [13], [9], "points, opposite direction (one seed, no interval)"),
            ("short", [9], [9], "+0.00 points, undecided (one seed, no interval)"),
            ("short", [9, 14, 9], [13, 13], "points, undecided (2 and 3 seeds, no interval)"),
        ],
    )
    def test_words(self, tmp_path, schedule, shallow, deep, word):
        assert self.errors(tmp_path, schedule, shallow, deep).count(word) == 2

    def test_reproduced_needs_the_papers_settings(self, tmp_path):
        options = {"variant": "rate=0.05", "settings": {"optimizer.rate": 0.05}}
        assert "same direction" in self.errors(tmp_path, "paper", [9], [13], **options)

    def test_with_shortcuts_the_deeper_network_should_be_better(self, tmp_path):
        for model in ENDS:
            write_run(tmp_path, model)
        text = summary_text(FIGURE6, find_runs(tmp_path))
        assert text.count("same direction") == 4
        assert "ResNet-56 minus ResNet-20, test error: -" in text
