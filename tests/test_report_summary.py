"""The table of final errors, and the closing words in the terminal."""

import numpy as np
import pytest
from ended_runs import as_in_paper, ended_runs
from report_samples import SYNTHETIC, figure1_runs, write_run

from degradation.errors import UserError
from degradation.report import find_runs
from degradation.report.claims import judge
from degradation.report.summary import final_errors, summary_text


def told(runs):
    return summary_text(runs, judge(runs))


def flat(text):
    return " ".join(text.split())


class TestFinalErrors:
    def test_are_means_of_the_last_rows_and_the_best_beside_them(self, tmp_path):
        runs = figure1_runs(tmp_path, seeds=(0, 1), parameters=269_722)
        table = final_errors(runs)
        assert list(table.columns) == [
            "model",
            "network",
            "parameters",
            "seeds",
            "train_error",
            "test_error",
            "best_error",
            "paper",
            "paper_source",
        ]
        assert list(table["network"]) == ["plain-20", "plain-56"]
        assert list(table["seeds"]) == ["0, 1", "0, 1"]
        for row in table.itertuples():
            rows = [run.rows for run in runs if run.model == row.model]
            assert len(rows) == 2 and row.parameters == 269_722
            assert row.train_error == pytest.approx(
                np.mean([r["train_error"].iloc[-1] for r in rows])
            )
            assert row.test_error == pytest.approx(
                np.mean([r["test_error"].iloc[-1] for r in rows])
            )
            assert row.best_error == pytest.approx(np.mean([r["test_error"].min() for r in rows]))

    def test_plain_networks_first_then_by_depth(self, tmp_path):
        for model in ("resnet110", "resnet20", "plain110", "plain56", "plain20"):
            write_run(tmp_path, model)
        models = list(final_errors(find_runs(tmp_path))["model"])
        assert models == ["plain20", "plain56", "plain110", "resnet20", "resnet110"]

    def test_the_papers_errors_stand_beside_faithful_runs(self):
        table = final_errors(ended_runs("paper", as_in_paper("plain56", "resnet20")))
        assert list(table["paper"]) == [13.26, 8.75]
        assert list(table["paper_source"]) == [
            "He et al. 2015, Figure 6 (digitised)",
            "He et al. 2015, Table 6",
        ]

    @pytest.mark.parametrize(
        ("schedule", "options"),
        [
            ("short", {}),
            ("paper", {"variant": "rate=0.05", "settings": {"optimizer.rate": 0.05}}),
            ("paper", {"variant": "holdout=5000", "holdout": 5000}),
            ("paper", {"variant": "depth=26", "settings": {"model.depth": 26}}),
        ],
    )
    def test_and_beside_no_others(self, schedule, options):
        table = final_errors(ended_runs(schedule, {"resnet20": [9.0]}, **options))
        assert table["paper"].isna().all() and list(table["paper_source"]) == [""]

    def test_nor_beside_networks_that_the_paper_lacks(self):
        table = final_errors(ended_runs("paper", {"vgg16": [9.0], "plain20": [9.0]}))
        assert dict(zip(table["model"], table["paper"].isna(), strict=True)) == {
            "vgg16": True,
            "plain20": False,
        }

    def test_with_held_out_images_they_are_validation_errors(self):
        options = {"variant": "holdout=5000", "holdout": 5000}
        table = final_errors(ended_runs("short", {"plain20": [9.0]}, **options))
        assert "test_error" not in table and table["val_error"][0] == 9
        assert table["best_error"][0] == 8.5

    def test_runs_that_do_not_say_their_parameters(self, tmp_path):
        write_run(tmp_path, "plain20")
        assert final_errors(find_runs(tmp_path))["parameters"].isna().all()

    def test_refuses_runs_of_two_schedules(self, tmp_path):
        write_run(tmp_path, "plain20")
        write_run(tmp_path, "plain20", schedule="smoke")
        with pytest.raises(UserError, match="schedule"):
            final_errors(find_runs(tmp_path))


class TestSummaryText:
    def lines(self, text):
        """The claims' lines by number."""
        return {line[0]: line for line in text.splitlines() if line[:1].isdigit()}

    def test_tells_errors_effects_and_verdicts(self):
        ends = {"plain20": [19.0, 20.0], "plain56": [55.0, 56.2]}
        text = told(ended_runs("short", ends))
        assert "plain-20 0, 1 19.50 19.50 19.00" in flat(text)
        assert "best *" in text and "chosen on the test images" in text
        line = self.lines(text)["1"]
        assert line.startswith("1  plain-56 has a higher training error than plain-20  ")
        assert line.endswith("+36.10 [+34.83, +37.37]  same direction")
        assert set(self.lines(text)) == set("12345678")

    def test_several_differences_have_a_line_each(self):
        text = told(ended_runs("paper", as_in_paper(spread=(0.0, 0.3))))
        assert "ResNet-20 minus plain-20" in text and "ResNet-44 minus ResNet-32" in text
        assert "plain-56 minus the paper's 13.26" in text
        assert self.lines(text)["5"].split()[-1] == "reproduced"

    def test_names_schedule_data_and_what_they_cannot_show(self, tmp_path):
        text = flat(told(figure1_runs(tmp_path)))
        assert "Schedule short: 4,000 iterations" in text
        assert "plain-56 has barely begun to learn" in text
        assert "paper" not in text.split("claim")[0]  # no column of the paper's errors

    def test_on_the_papers_schedule_its_errors_are_a_column(self):
        text = told(ended_runs("paper", as_in_paper("resnet20")))
        (row,) = [line for line in text.splitlines() if line.strip().startswith("ResNet-20  ")]
        assert row.split() == ["ResNet-20", "0", "0.84", "8.75", "8.25", "8.75"]
        assert "not the paper's schedule" not in text

    def test_names_data_that_are_not_cifar10(self, tmp_path):
        options = {"settings": {"data.name": "synthetic"}, "dataset": SYNTHETIC}
        text = told(figure1_runs(tmp_path, "paper", seeds=(0, 1, 2), **options))
        assert "Data: synthetic data, not CIFAR-10." in flat(text)
        assert "same direction" in text and "reproduced" not in text

    def test_commands_can_be_copied_and_are_told_once(self):
        text = told(ended_runs("short", {"plain20": [19.0]}))
        command = (
            "`.venv/bin/python -m experiments.reproduce figure=figure6 schedule=short "
            "'seeds=[0,1,2]'`"
        )
        assert any(line.strip() == command for line in text.splitlines())
        assert text.count("figure=figure1") == 1 and "(1, 2) No finished run of plain56" in text

    def test_a_difference_of_a_claim_that_lacks_runs_is_named(self):
        lines = told(ended_runs("short", {"plain20": [19.0], "resnet20": [16.0]})).splitlines()
        (claim,) = [line for line in lines if line.startswith("5  ")]
        assert claim.endswith("  runs missing") and "−3.00" not in claim
        assert "     ResNet-20 minus plain-20" in next(line for line in lines if "−3.00" in line)

    def test_says_so_where_the_paper_claims_nothing(self):
        text = told(ended_runs("short", {"vgg16": [9.0]}))
        assert "vgg16" in text and "claim  " not in text and "verdict" not in text

    def test_says_that_resnet_56_is_slow_to_overtake(self):
        text = flat(told(ended_runs("short", {"resnet20": [17.0], "resnet56": [20.0]})))
        assert "ResNet-56 trails ResNet-20 until about 7,000 iterations" in text
        assert "says nothing against the paper" in text and "plain-56" not in text.split(")")[-1]

    @pytest.mark.parametrize("schedule", ["short", "paper"])
    @pytest.mark.parametrize("seeds", [1, 2, 12])
    def test_fits_in_100_columns(self, schedule, seeds):
        shifts = tuple(1.7 * (k % 5) for k in range(seeds))
        runs = ended_runs(schedule, as_in_paper(spread=shifts), dataset=SYNTHETIC["label"])
        text = told(runs)
        assert max(map(len, text.splitlines())) <= 100
        assert all(line == line.rstrip() for line in text.splitlines())
