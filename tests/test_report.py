"""The figure: what is drawn, what its caption says, and the files it is written to."""

import os
import subprocess
import sys

import matplotlib
import matplotlib.image
import matplotlib.text
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from report_samples import (
    ENDS,
    FIGURE1,
    FIGURE6,
    ROOT,
    SCHEDULES,
    SYNTHETIC,
    figure1_runs,
    make_rows,
    write_run,
)

from degradation.errors import UserError
from degradation.report import build_figure, draw_figure, find_runs, summary_text
from degradation.report.typesetting import spread


def texts(figure) -> str:
    """Everything written outside the axes, on one line."""
    return " ".join(" ".join(text.get_text().split()) for text in figure.texts)


def line(axes, gid: str):
    """The one curve with this id."""
    (found,) = [line for line in axes.lines if line.get_gid() == gid]
    return found


class TestFigure:
    def test_lines_are_the_rows_thin_for_training_thick_for_test(self, tmp_path):
        runs = figure1_runs(tmp_path)
        (axes,) = build_figure(FIGURE1, runs).axes
        for run in runs:
            train = line(axes, f"{run.model}-train_error")
            test = line(axes, f"{run.model}-test_error")
            for drawn, column in ((train, "train_error"), (test, "test_error")):
                np.testing.assert_array_equal(drawn.get_xdata() * 1000, run.rows["iteration"])
                np.testing.assert_array_equal(drawn.get_ydata(), run.rows[column])
            assert train.get_linewidth() < 1 < test.get_linewidth()
            assert train.is_dashed() and not test.is_dashed()
            assert train.get_color() == test.get_color()
        assert axes.get_xlabel() == "iter. (1e3)"
        assert axes.get_ylabel() == "error (%)"
        assert not axes.collections  # one seed has no band

    def test_networks_differ_in_greyscale(self, tmp_path):
        (axes,) = build_figure(FIGURE1, figure1_runs(tmp_path)).axes
        shallow, deep = (
            np.dot(to_rgb(line(axes, f"{model}-test_error").get_color()), [0.299, 0.587, 0.114])
            for model in ("plain20", "plain56")
        )
        assert shallow - deep > 0.25

    def test_several_seeds_give_their_mean_and_a_band_that_the_caption_explains(self, tmp_path):
        runs = figure1_runs(tmp_path, seeds=(0, 1, 2))
        figure = build_figure(FIGURE1, runs)
        (axes,) = figure.axes
        errors = np.array([run.rows["test_error"] for run in runs if run.model == "plain56"])
        drawn = line(axes, "plain56-test_error").get_ydata()
        np.testing.assert_allclose(drawn, errors.mean(axis=0))
        (band,) = [c for c in axes.collections if c.get_gid() == "plain56-test_error-band"]
        corners = band.get_paths()[0].vertices[:, 1]
        assert corners.min() == errors.min() and corners.max() == errors.max()
        assert "Seeds 0, 1, 2." in texts(figure)
        assert "bands reach from the lowest seed to the highest" in texts(figure)

    def test_drops_are_marked_and_line_ends_named_without_overlap(self, tmp_path):
        figure = build_figure(FIGURE1, figure1_runs(tmp_path))
        (axes,) = figure.axes
        drops = [drawn for drawn in axes.lines if str(drawn.get_gid()).startswith("drop")]
        assert [drawn.get_xdata()[0] for drawn in drops] == [2, 3]
        names = [text.get_text() for text in axes.texts]
        assert names.count("lr ÷10") == 2
        ends = [text for text in axes.texts if "layer" in text.get_text()]
        assert {text.get_text() for text in ends} == {
            "20-layer training",
            "20-layer test",
            "56-layer training",
            "56-layer test",
        }
        assert_inside_and_apart(figure)

    @pytest.mark.parametrize("schedule", ["short", "paper", "smoke"])
    def test_nothing_overlaps_with_two_panels(self, tmp_path, schedule):
        for model in ENDS:
            write_run(tmp_path, model, schedule=schedule)
        figure = build_figure(FIGURE6, find_runs(tmp_path))
        assert [axes.get_title(loc="left") for axes in figure.axes] == [
            "plain networks",
            "residual networks",
        ]
        assert len({axes.get_ylim() for axes in figure.axes}) == 1
        first, second = (
            [drawn.get_color() for drawn in axes.lines if drawn.get_linewidth() == 2]
            for axes in figure.axes
        )
        assert first == second  # one depth, one colour
        assert_inside_and_apart(figure)

    def test_caption_names_schedule_seed_data_and_precision(self, tmp_path):
        written = texts(build_figure(FIGURE1, figure1_runs(tmp_path)))
        for words in (
            "He et al. 2015, Figure 1",
            "Thin dashed lines: training error",
            "thick lines: test error",
            "Seed 0.",
            "Schedule short: 4,000 iterations, learning rate ÷10 at 2,000 and 3,000.",
            "CIFAR-10, 97 of 60,000 images from JPEG (not the canonical archive).",
            "Precision: bfloat16.",
            "not the paper's schedule (64,000 iterations)",
            "plain-56 has barely begun to learn: its gap is slower optimisation, far larger",
        ):
            assert words in written
        assert "Settings unlike" not in written

    def test_paper_schedule_has_no_caveat_and_canonical_data_no_remark(self, tmp_path):
        canonical = {"name": "cifar10", "label": "CIFAR-10", "canonical": True}
        written = texts(build_figure(FIGURE1, figure1_runs(tmp_path, "paper", dataset=canonical)))
        assert "Data: CIFAR-10. Precision" in written
        assert "not the paper's" not in written
        assert "barely begun" not in written

    def test_a_paper_schedule_cut_short_is_not_the_papers(self, tmp_path):
        settings = {"schedule.iterations": 1600, "schedule.drops": []}
        runs = figure1_runs(tmp_path, "paper", variant="iterations=1600", settings=settings)
        assert "not the paper's schedule" in texts(build_figure(FIGURE1, runs))
        assert "reproduced" not in summary_text(FIGURE1, runs)

    def test_synthetic_data_are_called_that(self, tmp_path):
        settings = {"data.name": "synthetic"}
        runs = figure1_runs(tmp_path, "smoke", dataset=SYNTHETIC, settings=settings)
        figure = build_figure(FIGURE1, runs)
        assert "Data: synthetic data, not CIFAR-10. Precision" in texts(figure)
        assert figure.axes[0].get_xlabel() == "iter."

    def test_generated_data_are_not_taken_for_cifar10_whatever_their_label(self, tmp_path):
        options = {"settings": {"data.name": "synthetic"}, "dataset": SYNTHETIC | {"label": "dots"}}
        figure = build_figure(FIGURE1, figure1_runs(tmp_path, "smoke", **options))
        assert "Data: dots (not CIFAR-10)." in texts(figure)

    def test_runs_with_a_held_out_set_show_validation_error(self, tmp_path):
        settings = {"data.holdout": 5000}
        figure = build_figure(FIGURE1, figure1_runs(tmp_path, holdout=5000, settings=settings))
        assert "thick lines: validation error, on 5,000 training images held out." in texts(figure)
        assert "Settings unlike the paper's: holdout=5000." in texts(figure)
        assert "56-layer validation" in [text.get_text() for text in figure.axes[0].texts]

    def test_caption_says_where_seeds_data_or_precision_differ(self, tmp_path):
        canonical = {"name": "cifar10", "label": "CIFAR-10", "canonical": True}
        write_run(tmp_path, "plain20", 0)
        write_run(tmp_path, "plain56", 3, precision="float32", dataset=canonical)
        written = texts(build_figure(FIGURE1, find_runs(tmp_path)))
        assert "Seeds 0 (plain-20); 3 (plain-56)." in written
        assert "bfloat16 (plain-20 seed 0); float32 (plain-56 seed 3)" in written
        assert "Data (not the same for all runs): CIFAR-10, 97" in written
        assert "Lines are means" not in written

    def test_start_is_cut_only_where_it_would_hide_the_rest_and_then_said(self, tmp_path):
        whole = build_figure(FIGURE1, figure1_runs(tmp_path / "a"))
        assert "cuts off" not in texts(whole)
        assert whole.axes[0].get_ylim()[1] >= 85
        low = {"plain20": (1.0, 9.0), "plain56": (6.0, 13.0)}
        for model, ends in low.items():
            rows = make_rows(SCHEDULES["paper"], ends, 0, "test")
            for row in rows[len(rows) // 3 :]:
                row["test_error"] = min(row["test_error"], 25.0)
                row["train_error"] = min(row["train_error"], 22.0)
            write_run(tmp_path / "b", model, 0, "paper", rows=rows)
        cut = build_figure(FIGURE1, find_runs(tmp_path / "b"))
        assert 25 <= cut.axes[0].get_ylim()[1] <= 30
        assert "The axis cuts off the start: until iteration" in texts(cut)

    def test_writes_png_and_svg_the_same_each_time(self, tmp_path):
        runs = figure1_runs(tmp_path / "runs")
        first = draw_figure(FIGURE1, runs, tmp_path / "one/two")
        assert [path.name for path in first] == ["figure1.png", "figure1.svg"]
        again = draw_figure(FIGURE1, runs, tmp_path / "again")
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
        assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
            "figure1.png",
            "figure1.svg",
        ]
        height, width, _ = matplotlib.image.imread(first[0]).shape
        assert width == 5.5 * 300 and height > 1000
        svg = first[1].read_text()
        assert "<dc:date>" not in svg
        assert (
            "Schedule short: 4,000 iterations" in svg
        )  # searchable, though text is drawn as paths
        assert 'id="plain56-test_error"' in svg

    def test_draws_over_an_older_figure_and_ignores_other_networks(self, tmp_path):
        write_run(tmp_path / "runs", "resnet20", seed=7, precision="float16")
        runs = figure1_runs(tmp_path / "runs")
        (tmp_path / "figure1.svg").write_text("old")
        draw_figure(FIGURE1, runs, tmp_path)
        svg = (tmp_path / "figure1.svg").read_text()
        assert "Seed 0." in svg and "float16 " not in svg

    def test_a_folder_that_cannot_be_made_is_one_line(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="cannot make the folder") as error:
            draw_figure(FIGURE1, figure1_runs(tmp_path / "runs"), tmp_path / "file/out")
        assert error.value.exit_code == 1

    def test_refuses_to_draw_half_a_figure(self, tmp_path):
        write_run(tmp_path, "plain20")
        with pytest.raises(UserError, match="no finished run of plain56"):
            draw_figure(FIGURE1, find_runs(tmp_path), tmp_path / "out")
        with pytest.raises(UserError, match="no finished run of plain20, plain56"):
            draw_figure(FIGURE1, [], tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("other", "key"),
        [
            ({"schedule": "paper"}, "schedule.name"),
            ({"settings": {"schedule.drops": [1000]}, "variant": "drops=1000"}, "schedule.drops"),
            ({"settings": {"data.holdout": 5000}, "holdout": 5000}, "data.holdout"),
            ({"model": "plain20", "seed": 1, "variant": "rate=1"}, "overrides of plain20"),
            ({"model": "plain20", "seed": 1, "settings": {"model.depth": 8}}, "depth of plain20"),
        ],
    )
    def test_refuses_runs_that_cannot_stand_side_by_side(self, tmp_path, other, key):
        write_run(tmp_path, "plain20")
        write_run(tmp_path, **({"model": "plain56"} | other))
        if key.endswith("plain20"):
            write_run(tmp_path, "plain56")
        with pytest.raises(UserError, match=key) as error:
            build_figure(FIGURE1, find_runs(tmp_path))
        assert "\n" not in str(error.value)

    def test_users_matplotlibrc_changes_nothing(self, tmp_path):
        runs = figure1_runs(tmp_path / "runs")
        plain = draw_figure(FIGURE1, runs, tmp_path / "plain")
        loud = {
            "font.size": 30,
            "savefig.bbox": "tight",
            "axes.facecolor": "black",
            "lines.marker": "o",
        }
        with matplotlib.rc_context(loud):
            styled = draw_figure(FIGURE1, runs, tmp_path / "styled")
        assert [path.read_bytes() for path in plain] == [path.read_bytes() for path in styled]


def assert_inside_and_apart(figure):
    """Every text lies inside the figure, and no two texts overlap."""
    figure.canvas.draw()
    written = [*figure.texts]
    for axes in figure.axes:
        written += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes._left_title]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            written += [
                tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
            ]
    # Of an annotation with a leader, only the text: the leader may pass by its neighbours.
    boxes = {
        text: matplotlib.text.Text.get_window_extent(text)
        for text in written
        if text.get_text() and text.get_visible()
    }
    page = figure.bbox
    for text, box in boxes.items():
        assert page.x0 <= box.x0 and box.x1 <= page.x1, text
        assert page.y0 <= box.y0 and box.y1 <= page.y1, text
    pairs = [(a, b) for a in boxes for b in boxes if a is not b]
    assert not [pair for pair in pairs if boxes[pair[0]].shrunk(0.98, 0.8).overlaps(boxes[pair[1]])]


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ([5, 1, 9], [5, 1, 9]),
        ([5, 5], [4.5, 5.5]),
        ([5.2, 5.0], [5.6, 4.6]),
        ([0, 0, 0], [0, 1, 2]),
        ([10, 10], [9, 10]),
        ([2, 3, 2], [4 / 3, 10 / 3, 7 / 3]),
    ],
)
def test_spread_moves_places_apart_no_further_than_needed(wanted, places):
    assert spread(wanted, 1, 0, 10) == pytest.approx(places)


def test_report_does_without_tensorflow():
    code = "import degradation.report, sys; sys.exit(any(m in sys.modules for m in %r))"
    command = [sys.executable, "-c", code % (["tensorflow", "keras", "matplotlib.pyplot"],)]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    assert subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode == 0
