"""The table of final errors, and the closing words in the terminal."""

import pytest
from ended_runs import as_in_paper, ended_runs
from report_samples import SYNTHETIC, write_runs

from degradation.report import judge, summary_text
from degradation.report.export import final_errors

PLAIN = ("plain20", "plain56")


def told(runs):
    return summary_text(runs, judge(runs))


def flat(text):
    return " ".join(text.split())


def test_the_papers_errors_do_not_stand_beside_runs_of_other_settings():
    (row,) = final_errors(ended_runs("paper", {"resnet20": [9.0]}, {"optimizer.rate": 0.05}))
    assert row["paper"] is None


class TestSummaryText:
    def test_names_data_that_are_not_cifar10(self, tmp_path):
        options = {"settings": {"data.name": "synthetic"}, "dataset": SYNTHETIC}
        text = told(write_runs(tmp_path, PLAIN, (0, 1, 2), schedule="paper", **options))
        assert "Data: synthetic data, not CIFAR-10." in flat(text)
        assert "same direction" in text and "reproduced" not in text

    def test_commands_can_be_copied_and_are_told_once(self):
        text = told(ended_runs("short", {"plain20": [19.0]}))
        for figure in ("figure1", "figure6"):
            command = (
                f".venv/bin/python -m experiments.reproduce figure={figure} schedule=short "
                "'seeds=[0,1,2]'"
            )
            assert text.splitlines().count(command) == 1
        assert "No finished run of plain56 for claims 1, 2\n" in text

    def test_says_that_resnet_56_is_slow_to_overtake(self):
        text = flat(told(ended_runs("short", {"resnet20": [17.0], "resnet56": [20.0]})))
        assert "ResNet-56 has a higher error than ResNet-20 until about 7,000 iterations" in text

    @pytest.mark.parametrize("schedule", ["short", "paper"])
    @pytest.mark.parametrize("seeds", [1, 2, 12])
    def test_fits_in_100_columns(self, schedule, seeds):
        shifts = tuple(1.7 * (k % 5) for k in range(seeds))
        runs = ended_runs(schedule, as_in_paper(spread=shifts), label=SYNTHETIC["label"])
        text = told(runs)
        assert max(map(len, text.splitlines())) <= 100
        assert all(line == line.rstrip() for line in text.splitlines())
