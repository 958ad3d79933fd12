"""The figures: what is drawn, what their captions say, and the files they are written to."""

import itertools
import re

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from command_line import refusal
from report_samples import (
    ALSO_ENDS,
    ENDS,
    FIGURE1,
    FIGURE4,
    FIGURE6,
    FIGURE7,
    SCHEDULES,
    assert_inside_and_apart,
    line,
    make_rows,
    texts,
    write_run,
    write_runs,
)

from degradation.config import read_figures
from degradation.records.run_folder import RunFolder
from degradation.report import build_figure, find_runs
from degradation.report.figures import DEPTH, draw_pictures, drawable
from degradation.report.paper import compare_with_paper, curve, response_distance

PLAIN = ["plain20", "plain56"]
PAIRS = [*PLAIN, "resnet20", "resnet56"]
DIGITISED = r"He et al. 2015, Figure [67] \(digitised\): faint, in our colours"


def digits(model: str) -> int:
    return int("".join(filter(str.isdigit, model)))


def stds(model: str, seed: int) -> np.ndarray:
    """Some standard deviation for each convolution of a network."""
    return np.random.default_rng([digits(model), seed]).uniform(0.5, 2.5, digits(model) - 1)


def write(root, model="plain20", seed=0, responses=None, **options):
    """Write a finished run with its layers.csv; `responses` has None for a blank."""
    folder = write_run(root, model, seed, **options)
    responses = stds(model, seed).tolist() if responses is None else responses
    RunFolder(folder).write_table(
        "layers",
        [
            {"layer": f"conv{number}", "response_std": std, "kernel_norm": 1.0}
            for number, std in enumerate(responses, 1)
        ],
    )


def sample(root, models=PLAIN, seeds=(0,), **options):
    """Write and read runs of these networks."""
    for model, seed in itertools.product(models, seeds):
        write(root, model, seed, **options)
    return find_runs(root)


def find(figure, gid: str):
    """The one line with this id, in whichever panel."""
    (axes,) = [a for a in figure.axes if gid in [drawn.get_gid() for drawn in a.lines]]
    return line(axes, gid)


def lines_of_the_paper(figure) -> list[str]:
    ids = (str(drawn.get_gid()) for axes in figure.axes for drawn in axes.lines)
    return [gid for gid in ids if gid.startswith("paper-")]


class TestErrors:
    def test_lines_are_the_rows_thin_for_training_thick_for_test(self, tmp_path):
        runs = sample(tmp_path)
        (axes,) = build_figure(FIGURE1, runs).axes
        for run in runs:
            train = line(axes, f"{run.model}-train_error")
            test = line(axes, f"{run.model}-test_error")
            for drawn, column in ((train, "train_error"), (test, "test_error")):
                np.testing.assert_array_equal(drawn.get_xdata(), run.rows["iteration"])
                np.testing.assert_array_equal(drawn.get_ydata(), run.rows[column])
            assert train.get_linewidth() < 1 < test.get_linewidth()
            assert train.is_dashed() and not test.is_dashed()
            assert train.get_color() == test.get_color()
        assert axes.xaxis.get_major_formatter()(4000) == "4"
        assert axes.get_xlabel() == "iter. (1e3)"
        assert axes.get_ylabel() == "error (%)"
        assert not axes.collections  # one seed has no band

    def test_several_seeds_give_their_mean_and_a_band_that_the_caption_explains(self, tmp_path):
        runs = sample(tmp_path, seeds=(0, 1, 2))
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

    def test_drops_are_marked_and_line_ends_named(self, tmp_path):
        (axes,) = build_figure(FIGURE1, sample(tmp_path)).axes
        drops = [drawn for drawn in axes.lines if str(drawn.get_gid()).startswith("drop")]
        assert [drawn.get_xdata()[0] for drawn in drops] == [2000, 3000]
        assert sorted(text.get_text() for text in axes.texts) == [
            *("20-layer test", "20-layer training", "56-layer test", "56-layer training"),
            *["lr ÷10"] * 2,
        ]

    def test_caption_names_schedule_seed_data_and_precision(self, tmp_path):
        written = texts(build_figure(FIGURE1, sample(tmp_path)))
        for words in (
            "He et al. 2015, Figure 1",
            "Thin dashed lines: training error",
            "thick lines: test error",
            "Seeds: 0.",
            "Schedule short: 4,000 iterations, learning rate ÷10 at 2,000 and 3,000.",
            "CIFAR-10, 97 of 60,000 images from JPEG (not the canonical archive).",
            "Precision: bfloat16.",
            "The paper's schedule has 64,000 iterations, this one 4,000",
            "After 4,000 iterations plain-56 is far from converged",
        ):
            assert words in written
        assert "Settings unlike" not in written

    def test_runs_with_a_held_out_set_show_validation_error(self, tmp_path):
        figure = build_figure(FIGURE1, sample(tmp_path, settings={"data.holdout": 5000}))
        assert "thick lines: validation error, on 5,000 training images held out." in texts(figure)
        assert "Settings unlike the paper's: holdout=5000." in texts(figure)
        assert "56-layer validation" in [text.get_text() for text in figure.axes[0].texts]

    def test_start_is_cut_only_where_it_would_hide_the_rest_and_then_said(self, tmp_path):
        whole = build_figure(FIGURE1, sample(tmp_path / "a"))
        assert "cuts off" not in texts(whole)
        assert whole.axes[0].get_ylim()[1] >= 85
        for model, ends in {"plain20": (1.0, 9.0), "plain56": (6.0, 13.0)}.items():
            rows = make_rows(SCHEDULES["paper"], ends, 0, "test")
            for row in rows[len(rows) // 3 :]:
                row["test_error"] = min(row["test_error"], 25.0)
                row["train_error"] = min(row["train_error"], 22.0)
            write_run(tmp_path / "b", model, 0, "paper", rows=rows)
        cut = build_figure(FIGURE1, find_runs(tmp_path / "b"))
        assert 25 <= cut.axes[0].get_ylim()[1] <= 30
        assert "The axis cuts off the start: until iteration" in texts(cut)

    def test_panels_share_axes_and_colours(self, tmp_path):
        plain, residual = build_figure(FIGURE6, sample(tmp_path, ENDS | ALSO_ENDS)).axes
        assert (plain.get_title(loc="left"), residual.get_title(loc="left")) == (
            "plain networks",
            "residual networks",
        )
        assert plain.get_ylim() == residual.get_ylim()
        for depth in (20, 32, 44, 56, 110):
            ours = (
                line(plain, f"plain{depth}-test_error"),
                line(residual, f"resnet{depth}-test_error"),
            )
            assert ours[0].get_color() == ours[1].get_color()


class TestDepth:
    @pytest.mark.parametrize("column", ["test_error", "train_error"])
    def test_every_seed_is_a_dot_and_lines_join_their_means(self, tmp_path, column):
        runs = sample(tmp_path, ENDS, (0, 1, 2))
        figure = build_figure(DEPTH, runs)
        for name, family in (("plain", "plain"), ("residual", "resnet")):
            last = {
                depth: [r.rows[column].iloc[-1] for r in runs if r.model == f"{family}{depth}"]
                for depth in (20, 32, 56)
            }
            means = find(figure, f"{name}-{column}")
            np.testing.assert_array_equal(means.get_xdata(), list(last))
            np.testing.assert_allclose(means.get_ydata(), [np.mean(e) for e in last.values()])
            dots = find(figure, f"{name}-{column}-seeds")
            np.testing.assert_array_equal(dots.get_ydata(), sum(last.values(), []))
            assert len(set(dots.get_xdata())) == 9  # none hides another
            np.testing.assert_allclose(dots.get_xdata(), np.repeat(list(last), 3), atol=1.5)
        for axes in figure.axes:
            assert axes.get_xticks().tolist() == [20, 32, 56]
            assert [text.get_text() for text in axes.texts] == ["plain", "residual"]

    @pytest.mark.parametrize(
        "models", [[], ["plain56"], ["plain20", "resnet56"], ["plain18", "plain34", "vgg13"]]
    )
    def test_two_depths_of_one_kind_are_needed(self, tmp_path, models):
        assert draw_pictures([], write_runs(tmp_path, models), tmp_path) == []


class TestResponses:
    def test_original_order_above_sorted_below_and_lines_are_means(self, tmp_path):
        figure = build_figure(FIGURE7, sample(tmp_path, PAIRS, (0, 1, 2)))
        assert len({axes.get_ylim() for axes in figure.axes}) == 1
        assert len({axes.get_xlim() for axes in figure.axes}) == 1
        above, below = figure.axes[:2], figure.axes[2:]
        for number, model in enumerate(PAIRS):
            upper, lower = above[number // 2], below[number // 2]
            assert upper.get_position().y0 > lower.get_position().y1
            seeds = [stds(model, seed) for seed in range(3)]
            original = line(upper, f"{model}-original")
            np.testing.assert_array_equal(original.get_xdata(), np.arange(1, seeds[0].size + 1))
            np.testing.assert_allclose(original.get_ydata(), np.mean(seeds, axis=0))
            ordered = np.mean([np.sort(values)[::-1] for values in seeds], axis=0)
            np.testing.assert_allclose(line(lower, f"{model}-sorted").get_ydata(), ordered)
            assert f"{model}-original-band" in {c.get_gid() for c in upper.collections}
        for axes in above:
            names = [text.get_text() for text in axes.get_legend().get_texts()]
            assert names == ["20-layer", "56-layer"]
        assert "bands reach from the lowest seed to the highest" in texts(figure)

    def test_a_layer_without_a_batch_norm_is_left_out(self, tmp_path):
        """A shortcut's convolution is no layer."""
        write(tmp_path, responses=[1.0, None, 3.0])
        folder = RunFolder(next(tmp_path.glob("*/plain20/seed0")))
        beside = {"layer": "stage2_block1_shortcut_conv", "response_std": 9.0, "kernel_norm": 1.0}
        folder.write_table("layers", [*folder.table("layers"), beside])
        runs = find_runs(tmp_path)
        figure = build_figure(*drawable([FIGURE7], runs), runs)
        assert find(figure, "plain20-original").get_xydata().tolist() == [[1, 1], [3, 3]]
        assert find(figure, "plain20-sorted").get_xydata().tolist() == [[1, 3], [2, 1]]

    def test_distance_from_the_paper_is_over_the_layers_that_it_has(self, tmp_path):
        """Layer 18 of ResNet-56 could not be read, whatever ours is there."""
        paper = curve("resnet56", "original")
        assert len(paper) == 54 and 18 not in paper.index
        for seed, factor in enumerate((1.3, 0.9)):
            ours = [factor * paper.get(layer, 100.0) for layer in range(1, 56)]
            write(tmp_path, "resnet56", seed, ours, schedule="paper")
        runs = find_runs(tmp_path)
        assert response_distance(runs) == pytest.approx(0.2)  # not that of 1.1, their mean
        assert compare_with_paper(runs)[0]["responses"] == pytest.approx(0.2)
        written = texts(build_figure(*drawable([FIGURE7], runs), runs))
        assert "Mean over its layers of |ours ÷ paper − 1|: ResNet-56 0.20." in written

    def test_runs_without_layers_are_not_in_it(self, tmp_path):
        runs = write_runs(tmp_path, PLAIN)
        assert drawable([FIGURE1, FIGURE7], runs) == [FIGURE1]
        lacking = "figure=figure7: no finished run of "
        assert refusal(build_figure, FIGURE7, runs).startswith(f"{lacking}plain20, plain56")
        write(tmp_path, "plain20", seed=1)
        runs = find_runs(tmp_path)
        assert refusal(build_figure, FIGURE7, runs).startswith(f"{lacking}plain56")
        whole, part = drawable([FIGURE1, FIGURE7], runs)
        assert whole == FIGURE1
        assert part["title"] == "Responses of plain networks"
        assert [panel["models"] for panel in part["panels"]] == [["plain20"]]
        assert "Seeds: 1." in texts(build_figure(part, runs))


class TestPapersCurves:
    @pytest.mark.parametrize(
        ("spec", "names", "count"),
        [
            (FIGURE1, ["plain20-test_error", "plain56-train_error"], 4),
            (FIGURE7, [f"{m}-{o}" for m in PAIRS for o in ("original", "sorted")], 2 * 5),
        ],
        ids=["errors", "responses"],
    )
    def test_lie_faint_under_ours_on_the_papers_schedule(self, tmp_path, spec, names, count):
        runs = sample(tmp_path, [*PAIRS, "plain32", "resnet110"], schedule="paper")
        figure = build_figure(spec, runs)
        assert len(lines_of_the_paper(figure)) == count
        for name in names:
            ours, paper = find(figure, name), find(figure, f"paper-{name}")
            expected = curve(*name.split("-"))
            known = ~np.isnan(paper.get_ydata())
            np.testing.assert_array_equal(paper.get_xdata()[known], expected.index)
            np.testing.assert_array_equal(paper.get_ydata()[known], expected)
            assert paper.get_color() == ours.get_color()
            assert paper.get_linewidth() < ours.get_linewidth()
            assert paper.is_dashed() == ours.is_dashed()
            assert paper.get_alpha() < 0.6
            assert paper.get_zorder() < ours.get_zorder()
        (key,) = figure.legends[0].get_texts()
        assert re.fullmatch(DIGITISED, key.get_text())
        assert "The paper's " in texts(figure)  # the caption says what it lacks

    def test_last_points_lie_under_ours_against_depth(self, tmp_path):
        figure = build_figure(DEPTH, sample(tmp_path, ENDS, schedule="paper"))
        for column in ("test_error", "train_error"):
            paper = find(figure, f"paper-residual-{column}")
            expected = [curve(f"resnet{depth}", column).iloc[-1] for depth in (20, 32, 56)]
            np.testing.assert_array_equal(paper.get_ydata(), expected)
            assert paper.get_zorder() < find(figure, f"residual-{column}").get_zorder()
        assert "Diamonds: the last points of the paper's curves." in texts(figure)
        assert len(figure.legends) == 1

    @pytest.mark.parametrize("spec", [FIGURE1, FIGURE7, DEPTH], ids=lambda spec: spec["name"])
    def test_are_absent_where_ours_could_not_agree(self, tmp_path, spec):
        runs = sample(tmp_path, PAIRS)
        figure = build_figure(spec, runs)
        assert not lines_of_the_paper(figure) and not figure.legends
        for words in ("The paper's axis", "The paper's lines", "the paper's curves"):
            assert words not in texts(figure)
        assert response_distance(runs[:1]) is None
        what = "responses" if spec is FIGURE7 else "errors"
        assert f"this one 4,000: {what} of the two are not to be compared." in texts(figure)


class TestOtherFamilies:
    def labels(self, axes) -> set[str]:
        """What stands at the ends of the thick lines."""
        ends = (text.get_text() for text in axes.texts)
        return {end.removesuffix(" test") for end in ends if end.endswith(" test")}

    def test_figure_4_is_labelled_by_depth_and_its_caption_names_widths(self, tmp_path):
        models = ("plain18", "plain34", "resnet18", "resnet34")
        settings = {"model.widths": [16, 32, 64, 128]}
        figure = build_figure(FIGURE4, write_runs(tmp_path, models, settings=settings))
        assert [self.labels(axes) for axes in figure.axes] == [{"18-layer", "34-layer"}] * 2
        written = texts(figure)
        assert "Settings unlike the paper's: widths=[16,32,64,128]." in written
        assert "The paper does not train plain-18, plain-34, ResNet-18 or ResNet-34 on" in written
        assert "The paper's schedule" not in written  # which is that of section 4.2
        assert_inside_and_apart(figure)

    @pytest.mark.parametrize("panels", [1, 3])
    def test_are_called_by_their_names_and_have_colours_of_their_own(self, tmp_path, panels):
        """In as many panels as there are, which widen the figure for their long names."""
        names = {
            "vgg13": "vgg13",
            "vgg13skip": "vgg13skip",
            "densenet40": "densenet40",
            "preresnet20": "pre-activation ResNet-20",
            "resnet50": "ResNet-50",
            "resnet20": "ResNet-20",
        }
        runs = write_runs(tmp_path, names)
        parts = [list(names)[number::panels] for number in range(panels)]
        title = "A title that is longer than the one panel of its figure is wide can be read whole"
        spec = FIGURE1 | {
            "title": title,
            "panels": [{"title": "panel", "models": models, "also": []} for models in parts],
        }
        figure = build_figure(spec, runs)
        assert set().union(*map(self.labels, figure.axes)) == set(names.values())
        lines = [drawn for axes in figure.axes for drawn in axes.lines]
        thick = [drawn for drawn in lines if drawn.get_linewidth() == 2]
        assert len({drawn.get_color() for drawn in thick}) == len(names)
        assert title in texts(figure)
        assert_inside_and_apart(figure)


class TestLayout:
    def test_signs_in_titles_are_no_formulas(self, tmp_path):
        panels = [FIGURE1["panels"][0] | {"title": title} for title in ("a $ b $", r"$\bad{$")]
        drawn = build_figure(FIGURE1 | {"panels": panels}, sample(tmp_path))
        self.check(drawn)
        assert drawn.axes[1].get_title("left") == r"$\bad{$"

    @pytest.mark.parametrize(
        ("models", "schedule", "seeds"),
        [
            ([*ENDS, *ALSO_ENDS], "short", (0, 1, 2)),
            ([*ENDS, *ALSO_ENDS], "paper", (0,)),
            (list(ENDS), "smoke", (0,)),
        ],
    )
    def test_nothing_overlaps(self, tmp_path, subtests, models, schedule, seeds):
        runs = sample(tmp_path, models, seeds, schedule=schedule)
        for spec in (FIGURE1, FIGURE6, FIGURE7, DEPTH):
            with subtests.test(spec["name"]):
                self.check(build_figure(spec, runs))

    def check(self, figure):
        assert len({axes.get_ylim() for axes in figure.axes}) == 1
        assert_inside_and_apart(figure)


class TestFiles:
    def test_png_and_svg_are_the_same_each_time_whatever_matplotlibrc_says(self, tmp_path):
        runs = sample(tmp_path / "runs")
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

    def test_other_families_do_not_change_the_figure_of_depth(self, tmp_path):
        runs = sample(tmp_path / "runs", ENDS)
        (first,) = draw_pictures([], runs, tmp_path, "1")
        others = sample(tmp_path / "others", ["preresnet20", "resnet18", "vgg13"], seeds=(5,))
        (again,) = draw_pictures([], [*others, *runs], tmp_path, "2")
        assert first.png.read_bytes() == again.png.read_bytes()

    def test_one_panel_of_a_figure_has_its_title_as_it_is_written(self, tmp_path):
        (part,) = drawable([read_figures()["skip"]], write_runs(tmp_path, ["vgg13"]))
        assert part["title"] == "VGG-13"

    def test_a_figure_of_ones_own_needs_no_source(self, tmp_path):
        runs = sample(tmp_path / "runs", ["plain20", "plain56"])
        *_, picture = draw_pictures([FIGURE1 | {"source": None}], runs, tmp_path)
        assert picture.caption.startswith("Thin dashed lines: training error")

    def test_figures_in_part_say_so(self, tmp_path):
        runs = sample(tmp_path / "runs", ["plain20", "resnet20"], schedule="paper")
        pictures = draw_pictures(drawable([FIGURE1, FIGURE7], runs), runs, tmp_path, ",rate=1")
        assert [picture.png.stem for picture in pictures] == ["figure1,rate=1", "figure7,rate=1"]
        assert "After He et al. 2015, Figure 7, of networks that have runs." in pictures[-1].caption
        assert "Schedule paper: 64,000 iterations" in pictures[-1].caption
        assert pictures[-1].alt == f"{FIGURE7['title']}: plain-20, ResNet-20"
