"""Figure 7: standard deviations of layer responses, in the order of the network and sorted."""

import numpy as np
import pytest
import yaml
from report_samples import FIGURE1, ROOT, assert_inside_and_apart, line, texts, write_run

from degradation.errors import UserError
from degradation.records import RunFolder
from degradation.report import build_figure, find_runs
from degradation.report.figures import draw_pictures, drawable
from degradation.report.paper import curve, response_distance

FIGURE7 = yaml.safe_load((ROOT / "conf/figure/figure7.yaml").read_text())
MODELS = ("plain20", "plain56", "resnet20", "resnet56")
ALL = [model for panel in FIGURE7["panels"] for model in (*panel["models"], *panel["also"])]
DIGITISED = "He et al. 2015, Figure 7 (digitised)"


def stds(model: str, seed: int) -> np.ndarray:
    """Some standard deviation for each convolution of a network."""
    layers = int("".join(filter(str.isdigit, model))) - 1
    return np.random.default_rng([layers, seed]).uniform(0.5, 2.5, layers)


def write(root, model="plain20", seed=0, responses=None, **options):
    """Write a finished run with its layers.csv; `responses` has None for a blank."""
    folder = write_run(root, model, seed, **options)
    responses = stds(model, seed).tolist() if responses is None else responses
    RunFolder(folder).write_layers(
        [
            {"layer": f"conv{number}", "response_std": std, "kernel_norm": 1.0}
            for number, std in enumerate(responses, 1)
        ]
    )


def sample(root, models=MODELS, seeds=(0,), **options):
    for model in models:
        for seed in seeds:
            write(root, model, seed, **options)
    return find_runs(root)


class TestPanels:
    def test_original_order_above_sorted_below_and_lines_are_means(self, tmp_path):
        figure = build_figure(FIGURE7, sample(tmp_path, seeds=(0, 1, 2)))
        assert len(figure.axes) == 4
        assert len({axes.get_ylim() for axes in figure.axes}) == 1
        assert len({axes.get_xlim() for axes in figure.axes}) == 1
        for number, models in enumerate((MODELS[:2], MODELS[2:])):
            above, below = figure.axes[number], figure.axes[2 + number]
            assert above.get_position().y0 > below.get_position().y1
            for model in models:
                seeds = [stds(model, seed) for seed in range(3)]
                original = line(above, f"{model}-original")
                np.testing.assert_array_equal(original.get_xdata(), np.arange(1, seeds[0].size + 1))
                np.testing.assert_allclose(original.get_ydata(), np.mean(seeds, axis=0))
                ordered = [np.sort(values)[::-1] for values in seeds]
                np.testing.assert_allclose(
                    line(below, f"{model}-sorted").get_ydata(), np.mean(ordered, axis=0)
                )
                assert f"{model}-original-band" in {c.get_gid() for c in above.collections}
        assert "bands reach from the lowest seed to the highest" in texts(figure)

    @pytest.mark.parametrize("schedule", ["short", "paper"])
    @pytest.mark.parametrize("models", [MODELS, ALL])
    def test_nothing_overlaps(self, tmp_path, schedule, models):
        figure = build_figure(FIGURE7, sample(tmp_path, models, schedule=schedule))
        assert_inside_and_apart(figure)
        left, right = (axes.get_legend() for axes in figure.axes[:2])
        depths = sorted({int("".join(filter(str.isdigit, model))) for model in models})
        for legend in (left, right):
            names = [text.get_text() for text in legend.get_texts()]
            assert names == [f"{depth}-layer" for depth in depths]
        assert left.get_window_extent().x1 < right.get_window_extent().x0
        assert right.get_window_extent().x1 < figure.bbox.x1

    def test_a_layer_without_a_batch_norm_is_left_out(self, tmp_path):
        write(tmp_path, responses=[1.0, None, 3.0])
        whole, parts = drawable([FIGURE7], find_runs(tmp_path))
        figure = build_figure(*parts, find_runs(tmp_path))
        assert line(figure.axes[0], "plain20-original").get_xydata().tolist() == [[1, 1], [3, 3]]
        assert line(figure.axes[1], "plain20-sorted").get_xydata().tolist() == [[1, 3], [2, 1]]


class TestPaper:
    def test_its_values_lie_under_ours_on_its_schedule(self, tmp_path):
        figure = build_figure(FIGURE7, sample(tmp_path, ALL, schedule="paper"))
        for row, order in enumerate(("original", "sorted")):
            for number, models in enumerate((MODELS[:2], (*MODELS[2:], "resnet110"))):
                axes = figure.axes[2 * row + number]
                for model in models:
                    faint = line(axes, f"paper-{model}-{order}")
                    np.testing.assert_array_equal(faint.get_ydata(), curve(model, order))
                    assert faint.get_zorder() < line(axes, f"{model}-{order}").get_zorder()
                drawn = {one.get_gid() for one in axes.lines}
                assert drawn.isdisjoint({f"paper-plain32-{order}", f"paper-resnet44-{order}"})
        assert texts(figure).count(DIGITISED) == 2  # in the key and in the caption

    @pytest.mark.parametrize(
        "options",
        [{"schedule": "short"}, {"schedule": "paper", "settings": {"optimizer.rate": 0.05}}],
    )
    def test_nowhere_else(self, tmp_path, options):
        runs = sample(tmp_path, **options)
        figure = build_figure(FIGURE7, runs)
        assert not [one for axes in figure.axes for one in axes.lines if "paper" in one.get_gid()]
        assert "digitised" not in texts(figure) and "ours ÷ paper" not in texts(figure)
        assert response_distance(runs[:1]) is None
        cautious = "its responses are not to be compared with the paper's" in texts(figure)
        assert cautious == (options["schedule"] == "short")

    def test_distance_is_over_the_layers_that_it_has(self, tmp_path):
        """Layer 18 of ResNet-56 could not be read, whatever ours is there."""
        paper = curve("resnet56", "original")
        assert len(paper) == 54 and 18 not in paper.index
        for seed, factor in enumerate((1.3, 0.9)):
            ours = [factor * paper.get(layer, 100.0) for layer in range(1, 56)]
            write(tmp_path, "resnet56", seed, ours, schedule="paper")
        runs = find_runs(tmp_path)
        assert response_distance(runs) == pytest.approx(0.2)  # not that of 1.1, their mean
        _, parts = drawable([FIGURE7], runs)
        assert "Mean over its layers of |ours ÷ paper − 1|: ResNet-56 0.20." in texts(
            build_figure(*parts, runs)
        )


class TestReports:
    def test_it_is_in_every_report_whose_runs_have_layers(self, tmp_path):
        runs = sample(tmp_path / "runs", ["plain20", "resnet20"], schedule="paper")
        whole, parts = drawable([FIGURE1, FIGURE7], runs)
        assert not whole
        pictures = draw_pictures(parts, runs, tmp_path, ",rate=1")
        assert [picture.png.stem for picture in pictures] == ["figure1,rate=1", "figure7,rate=1"]
        picture = pictures[-1]
        assert picture.png.read_bytes().startswith(b"\x89PNG")
        assert picture.svg.name == "figure7,rate=1.svg" and "<svg" in picture.svg.read_text()
        assert "After He et al. 2015, Figure 7, in part." in picture.caption
        assert "Schedule paper: 64,000 iterations" in picture.caption
        assert picture.alt == f"{FIGURE7['title']}: plain-20, ResNet-20"

    def test_runs_without_layers_are_not_in_it(self, tmp_path):
        for model in ("plain20", "plain56"):
            write_run(tmp_path, model)
        runs = find_runs(tmp_path)
        assert drawable([FIGURE1, FIGURE7], runs) == ([FIGURE1], [])
        with pytest.raises(UserError, match="figure=figure7: no finished run of plain20, plain56"):
            build_figure(FIGURE7, runs)
        write(tmp_path, "plain20", seed=1)
        runs = find_runs(tmp_path)
        whole, (part,) = drawable([FIGURE1, FIGURE7], runs)
        assert whole == [FIGURE1]
        assert part["title"] == "Responses of plain networks"
        assert [panel["models"] for panel in part["panels"]] == [["plain20"]]
        assert "Seeds: 1." in texts(build_figure(part, runs))
