"""Reading run folders, and picking the runs of a figure."""

import errno
import os
from pathlib import Path

import pytest
from ended_runs import ended_runs
from report_samples import FIGURE1, FIGURE6, SCHEDULES, make_rows, write_run, write_runs

from degradation.report import find_runs
from degradation.report.figures import drawable
from degradation.report.runs import read_runs

ROWS = make_rows(SCHEDULES["short"], (20.0, 20.0), 0, "test")
LENGTH = {"schedule.iterations": 64_000, "schedule.drops": [32_000, 48_000]}
SMALL = {"data.name": "synthetic", "data.train_images": 100}
BARE = {"model.init": "dirac", "model.norm": "none"}


class TestFindRuns:
    def test_finds_at_any_depth_in_path_order_and_not_inside_a_run(self, tmp_path):
        path = write_run(tmp_path / "a/b", "plain20")
        write_run(tmp_path, "plain56")
        write_run(path / "checkpoint", "plain56", seed=9)
        assert [(run.model, run.seed) for run in find_runs(tmp_path)] == [
            ("plain20", 0),
            ("plain56", 0),
        ]
        assert len(find_runs(path)) == 1

    def test_finds_behind_links_and_each_run_once(self, tmp_path):
        path = write_run(tmp_path / "disk", "plain20")
        runs = tmp_path / "runs"
        runs.mkdir()
        (runs / "short").symlink_to(tmp_path / "disk" / "short")
        (path.parent / "round").symlink_to(runs)
        assert [run.model for run in find_runs(runs)] == ["plain20"]

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            ({"status": "interrupted"}, "interrupted, not complete"),
            (
                {"status": "failed", "failure": "loss is nan\nmore"},
                "failed, not complete: loss is nan",
            ),
            ({"status": "diverged", "diverged_at": 1234}, "diverged at iteration 1,234"),
            ({"protocol": None}, "earlier protocol"),
            ({"dataset": None}, "cannot be read"),
            ({"rows": [row | {"train_error": "nan"} for row in ROWS]}, "lacks"),
            ({"rows": [{"iteration": 4000, "train_error": 20.0}]}, "lacks"),
            ({"rows": ROWS[:10]}, "up to iteration 4000"),
            (lambda run: (run / "manifest.json").write_text("{"), "manifest.json is damaged"),
            (lambda run: (run / "config.yaml").unlink(), "data: missing, and needed"),
            (lambda run: (run / "metrics.csv").unlink(), "metrics.csv lacks iteration"),
        ],
    )
    def test_leaves_out_what_is_unfinished_or_broken_and_says_why(self, tmp_path, damage, reason):
        """Whether it was written so, or was damaged later."""
        write_run(tmp_path, "plain20")
        broken = write_run(tmp_path, "plain56", **(damage if isinstance(damage, dict) else {}))
        if callable(damage):
            damage(broken)
        runs, [(path, told, _)] = read_runs(tmp_path)
        assert ([run.model for run in runs], path) == (["plain20"], broken)
        assert reason in told and "\n" not in told

    def test_a_folder_that_may_not_be_read_is_told(self, tmp_path, monkeypatch):
        write_run(tmp_path, "plain20")
        closed, scandir = write_run(tmp_path, "plain56").parent, os.scandir

        def refuse(path):
            if Path(path) == closed:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        runs, others = read_runs(tmp_path)
        assert [run.model for run in runs] == ["plain20"]
        assert others == [(closed, "cannot be read: Permission denied", None)]
        assert read_runs(tmp_path / "nowhere") == ([], [])

    def test_reads_what_is_unfinished_as_far_as_it_came(self, tmp_path):
        rows = [{"iteration": 200, "train_error": 90.0, "test_error": 90.0}]
        write_run(tmp_path, rows=rows, status="diverged", diverged_at=300)
        _, [(_, _, run)] = read_runs(tmp_path)
        assert (run.model, run.diverged, len(run.rows)) == ("plain20", True, 1)

    def test_a_run_put_elsewhere_is_a_variant_if_its_settings_are_not_the_options(self, tmp_path):
        write_run(tmp_path, folder=tmp_path / "mine")
        write_run(tmp_path, folder=tmp_path / "slow", settings={"optimizer.rate": 0.01})
        write_run(tmp_path, folder=tmp_path / "small", settings={"model.depth": 26})
        found = {run.path.name: run.variant for run in find_runs(tmp_path)}
        assert found == {"mine": "", "slow": "rate=0.01", "small": "depth=26"}


class TestRun:
    def test_name_and_depth(self):
        expected = {  # and whether it is in the paper
            "plain56": ("plain-56", 56, True),
            "resnet110": ("ResNet-110", 110, True),
            "resnet1202": ("ResNet-1202", 1202, True),
            "preresnet20": ("pre-activation ResNet-20", 20, False),
            "cifar_resnet50": ("cifar_resnet50", 50, False),
            "plain18": ("plain-18", 18, False),
            "resnet34": ("ResNet-34", 34, False),
            "resnet152": ("ResNet-152", 152, False),
            "densenet40": ("densenet40", 40, False),
            "vgg16": ("vgg16", None, False),
        }
        runs = ended_runs("short", dict.fromkeys(expected, [9.0]))
        assert {run.model: (run.network, run.depth, run.in_paper) for run in runs} == expected
        (run,) = ended_runs("short", {"plain20": [9.0]}, {"model.shortcut": "A"})
        assert (run.network, run.in_paper) == ("plain20", False)  # it is none of the plain networks

    def test_a_users_own_depth_has_its_place_but_is_none_of_the_papers(self, tmp_path):
        own, folder = {"model.name": "plain26", "model.depth": 26}, tmp_path / "plain26" / "seed0"
        write_run(tmp_path, "plain20", schedule="paper", folder=folder, settings=own)
        (run,) = find_runs(tmp_path)
        assert (run.network, run.depth, run.of_section_4_2) == ("plain-26", 26, True)
        assert not run.in_paper and not run.faithful

    @pytest.mark.parametrize(
        ("schedule", "settings", "departures", "on_paper_schedule", "faithful"),
        [
            ("paper", {}, [], True, True),
            ("short", {}, [], False, False),
            ("short", LENGTH, [], True, True),  # under any name
            ("paper", {"model.shortcut": None}, [], True, True),  # which a plain network has anyway
            # A training error over more iterations is another one.
            ("paper", {"schedule.evaluate_every": 1600}, [], True, False),
            ("paper", {"data.dir": "/elsewhere", "schedule.evaluate_every": 80}, [], True, True),
            ("paper", SMALL, ["data=synthetic"], True, False),
            ("paper", BARE, ["init=dirac", "norm=none"], True, False),
            # One of one's own is not the paper's, even where all that both have is equal.
            ("paper", {"optimizer.name": "cosine"}, ["optimizer=cosine"], True, False),
        ],
    )
    def test_what_is_faithful_and_what_departs_from_the_protocol(
        self, schedule, settings, departures, on_paper_schedule, faithful
    ):
        (run,) = ended_runs(schedule, {"plain20": [9.0]}, settings)
        assert run.setting.departures == departures
        assert (run.on_paper_schedule, run.faithful) == (on_paper_schedule, faithful)


class TestDrawable:
    """Which figures, or parts of figures, are drawn of the runs that there are."""

    @pytest.mark.parametrize(
        ("models", "whole", "title", "panels"),
        [
            (["plain20", "plain56"], [FIGURE1], None, []),
            (
                ["plain20", "plain56", "resnet20", "resnet44"],
                [FIGURE1],
                FIGURE6["title"],
                [["plain20", "plain56"], ["resnet20", "resnet44"]],
            ),
            (["resnet20"], [], "Residual networks", [["resnet20"]]),  # a panel gives its title
            (["vgg16"], [], None, []),
        ],
    )
    def test_whole_ones_and_of_others_what_shows_the_rest(
        self, tmp_path, models, whole, title, panels
    ):
        figures = drawable([FIGURE1, FIGURE6], write_runs(tmp_path, models))
        assert figures[: len(whole)] == whole
        parts = figures[len(whole) :]
        assert [part["title"] for part in parts] == ([title] if title else [])
        assert [panel["models"] for part in parts for panel in part["panels"]] == panels
