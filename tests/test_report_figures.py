"""The figure: what is drawn, what its caption says, and the files it is written to."""

import os
import subprocess
import sys

import matplotlib
import matplotlib.image
import numpy as np
import pytest
import yaml
from report_samples import (
    ALSO_ENDS,
    ENDS,
    FIGURE1,
    FIGURE6,
    ROOT,
    SCHEDULES,
    assert_inside_and_apart,
    figure1_runs,
    line,
    make_rows,
    texts,
    write_run,
)

from degradation.errors import UserError
from degradation.report import build_figure, find_runs, select
from degradation.report.figures import draw_pictures
from degradation.report.panel import spread
from degradation.report.paper import curve


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
        assert "Seeds: 0, 1, 2." in texts(figure)
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

    def test_caption_names_schedule_seed_data_and_precision(self, tmp_path):
        written = texts(build_figure(FIGURE1, figure1_runs(tmp_path)))
        for words in (
            "He et al. 2015, Figure 1",
            "Thin dashed lines: training error",
            "thick lines: test error",
            "Seeds: 0.",
            "Schedule short: 4,000 iterations, learning rate ÷10 at 2,000 and 3,000.",
            "CIFAR-10, 97 of 60,000 images from JPEG (not the canonical archive).",
            "Precision: bfloat16.",
            "not the paper's schedule (64,000 iterations)",
            "After 4,000 iterations plain-56 has barely begun to learn",
        ):
            assert words in written
        assert "Settings unlike" not in written

    def test_runs_with_a_held_out_set_show_validation_error(self, tmp_path):
        settings = {"data.holdout": 5000}
        figure = build_figure(FIGURE1, figure1_runs(tmp_path, holdout=5000, settings=settings))
        assert "thick lines: validation error, on 5,000 training images held out." in texts(figure)
        assert "Settings unlike the paper's: holdout=5000." in texts(figure)
        assert "56-layer validation" in [text.get_text() for text in figure.axes[0].texts]

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

    def test_writes_png_and_svg_the_same_each_time_whatever_matplotlibrc_says(self, tmp_path):
        runs = figure1_runs(tmp_path / "runs")
        *_, first = draw_pictures([FIGURE1], runs, tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
            *("depth.png", "depth.svg", "figure1.png", "figure1.svg")
        ]
        loud = {"font.size": 30, "savefig.bbox": "tight", "axes.facecolor": "black"}
        with matplotlib.rc_context(loud | {"lines.marker": "o"}):
            *_, again = draw_pictures([FIGURE1], runs, tmp_path, ",rate=1")
        assert (again.png.name, again.svg.name) == ("figure1,rate=1.png", "figure1,rate=1.svg")
        assert first.png.read_bytes() == again.png.read_bytes()
        assert first.svg.read_bytes() == again.svg.read_bytes()
        height, width, _ = matplotlib.image.imread(first.png).shape
        assert width == 5.5 * 300 and height > 1000
        svg = first.svg.read_text()
        assert "<dc:date>" not in svg and 'id="plain56-test_error"' in svg
        assert "Schedule short: 4,000 iterations" in svg  # searchable, though text is paths

    def test_refuses_to_draw_half_a_figure(self, tmp_path):
        write_run(tmp_path, "plain20")
        with pytest.raises(UserError, match="no finished run of plain56"):
            build_figure(FIGURE1, find_runs(tmp_path))
        with pytest.raises(UserError, match="no finished run of plain20, plain56"):
            build_figure(FIGURE1, [])

    @pytest.mark.parametrize(
        ("other", "key"),
        [
            ({"schedule": "paper"}, "schedule"),
            ({"settings": {"data.holdout": 5000}, "holdout": 5000}, "holdout=5000"),
            ({"variant": "rate=1"}, "rate=1"),
        ],
    )
    def test_refuses_runs_that_cannot_stand_side_by_side(self, tmp_path, other, key):
        write_run(tmp_path, "plain20")
        write_run(tmp_path, **({"model": "plain56"} | other))
        with pytest.raises(UserError, match=key) as error:
            build_figure(FIGURE1, find_runs(tmp_path))
        assert "\n" not in str(error.value)


class TestFigure6:
    @pytest.mark.parametrize(
        ("schedule", "seeds"), [("short", (0, 1, 2)), ("paper", (0,)), ("smoke", (0,))]
    )
    def test_panels_share_axes_and_colours_and_nothing_overlaps(self, tmp_path, schedule, seeds):
        for model in ENDS | ALSO_ENDS:
            for seed in seeds:
                write_run(tmp_path, model, seed, schedule)
        figure = build_figure(FIGURE6, find_runs(tmp_path))
        plain, residual = figure.axes
        assert (plain.get_title(loc="left"), residual.get_title(loc="left")) == (
            "plain networks",
            "residual networks",
        )
        assert plain.get_ylim() == residual.get_ylim()
        for depth in (20, 32, 44, 56, 110):
            pair = (
                line(plain, f"plain{depth}-test_error"),
                line(residual, f"resnet{depth}-test_error"),
            )
            assert pair[0].get_color() == pair[1].get_color()
        assert_inside_and_apart(figure)


class TestPapersCurves:
    KEY = "He et al. 2015, Figure 6 (digitised)"

    def faint(self, figure):
        """The ids of the paper's curves."""
        ids = (str(drawn.get_gid()) for axes in figure.axes for drawn in axes.lines)
        return [gid for gid in ids if gid.startswith("paper-")]

    def test_lie_faint_under_ours_on_the_papers_schedule(self, tmp_path):
        figure = build_figure(FIGURE1, figure1_runs(tmp_path, "paper"))
        (axes,) = figure.axes
        assert len(self.faint(figure)) == 4
        for name in ("plain20-test_error", "plain56-train_error"):
            ours, paper = line(axes, name), line(axes, f"paper-{name}")
            expected = curve(*name.split("-"))
            known = ~np.isnan(paper.get_ydata())
            np.testing.assert_array_equal(paper.get_xdata()[known] * 1000, expected.index)
            np.testing.assert_array_equal(paper.get_ydata()[known], expected)
            assert paper.get_color() == ours.get_color()
            assert paper.get_linewidth() < ours.get_linewidth()
            assert paper.is_dashed() == ours.is_dashed()
            assert paper.get_alpha() < 0.6
            assert paper.get_zorder() < ours.get_zorder()
        assert texts(figure).count(self.KEY) == 2  # beside the title, and in the caption
        assert_inside_and_apart(figure)

    @pytest.mark.parametrize(
        ("schedule", "options"),
        [
            ("short", {}),
            ("paper", {"variant": "rate=0.05", "settings": {"optimizer.rate": 0.05}}),
            ("paper", {"settings": {"data.holdout": 5000}, "holdout": 5000}),
        ],
    )
    def test_are_absent_where_ours_could_not_agree(self, tmp_path, schedule, options):
        figure = build_figure(FIGURE1, figure1_runs(tmp_path, schedule, **options))
        assert not self.faint(figure)
        assert self.KEY not in texts(figure)


class TestOtherFamilies:
    def figure(self, root, panels, **options):
        """One figure of these panels, each a list of models."""
        spec = FIGURE1 | {"panels": [{"title": "panel", "models": models} for models in panels]}
        for model in {model: None for models in panels for model in models}:
            write_run(root, model, **options)
        return build_figure(spec, find_runs(root))

    def labels(self, axes) -> set[str]:
        """What stands at the ends of the thick lines."""
        ends = (text.get_text() for text in axes.texts)
        return {end.removesuffix(" test") for end in ends if end.endswith(" test")}

    def test_figure_4_is_labelled_by_depth_and_its_caption_names_widths(self, tmp_path):
        spec = yaml.safe_load((ROOT / "conf/figure/figure4.yaml").read_text())
        widths = {"settings": {"model.widths": [16, 32, 64, 128]}}
        for model in ("plain18", "plain34", "resnet18", "resnet34"):
            write_run(tmp_path, model, variant="widths=16-32-64-128", **widths)
        runs = select(
            find_runs(tmp_path),
            ["plain18", "plain34", "resnet18", "resnet34"],
            "short",
            variant="widths=16-32-64-128",
        )
        figure = build_figure(spec, runs)
        assert [self.labels(axes) for axes in figure.axes] == [{"18-layer", "34-layer"}] * 2
        written = texts(figure)
        assert "Settings unlike the paper's: widths=[16,32,64,128]." in written
        assert "The paper does not train plain-18, plain-34, ResNet-18 or ResNet-34 on" in written
        assert "not the paper's schedule" not in written  # which is that of section 4.2
        assert_inside_and_apart(figure)

    def test_are_called_by_their_names_and_have_colours_of_their_own(self, tmp_path):
        models = ["vgg13", "vgg13skip", "densenet40", "preresnet20", "resnet50", "resnet20"]
        figure = self.figure(tmp_path, [models])
        assert self.labels(figure.axes[0]) == {
            "vgg13",
            "vgg13skip",
            "densenet40",
            "pre-activation ResNet-20",
            "ResNet-50",
            "ResNet-20",
        }
        thick = [drawn for drawn in figure.axes[0].lines if drawn.get_linewidth() == 2]
        assert len({drawn.get_color() for drawn in thick}) == len(models)
        assert_inside_and_apart(figure)


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
