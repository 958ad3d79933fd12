"""The figure of final error against depth."""

import numpy as np
import pytest
from report_samples import (
    ALSO_ENDS,
    ENDS,
    assert_inside_and_apart,
    line,
    texts,
    write_run,
)

from degradation.errors import UserError
from degradation.report import build_figure, find_runs
from degradation.report.figures import DEPTH, draw_pictures
from degradation.report.paper import curve


def sample(root, models=tuple(ENDS), seeds=(0,), **options):
    """Write and read runs of these networks."""
    for model in models:
        for seed in seeds:
            write_run(root, model, seed, **options)
    return find_runs(root)


class TestDepth:
    @pytest.mark.parametrize(("number", "column"), [(0, "test_error"), (1, "train_error")])
    def test_every_seed_is_a_dot_and_lines_join_their_means(self, tmp_path, number, column):
        runs = sample(tmp_path, seeds=(0, 1, 2))
        axes = build_figure(DEPTH, runs).axes[number]
        for name, family in (("plain", "plain"), ("residual", "resnet")):
            last = {
                depth: [r.rows[column].iloc[-1] for r in runs if r.model == f"{family}{depth}"]
                for depth in (20, 32, 56)
            }
            means = line(axes, f"{name}-{column}")
            np.testing.assert_array_equal(means.get_xdata(), list(last))
            np.testing.assert_allclose(means.get_ydata(), [np.mean(e) for e in last.values()])
            dots = line(axes, f"{name}-{column}-seeds")
            np.testing.assert_array_equal(dots.get_ydata(), sum(last.values(), []))
            assert len(set(dots.get_xdata())) == 9  # none hides another
            np.testing.assert_allclose(dots.get_xdata(), np.repeat(list(last), 3), atol=1.5)
        assert axes.get_xticks().tolist() == [20, 32, 56]

    @pytest.mark.parametrize("schedule", ["short", "paper"])
    @pytest.mark.parametrize("models", [list(ENDS), [*ENDS, *ALSO_ENDS], ["plain20", "plain56"]])
    def test_nothing_overlaps(self, tmp_path, schedule, models):
        figure = build_figure(DEPTH, sample(tmp_path, models, schedule=schedule))
        assert len({axes.get_ylim() for axes in figure.axes}) == 1
        names = {"plain", "residual"} if len(models) > 2 else {"plain"}
        for axes in figure.axes:
            assert {text.get_text() for text in axes.texts} == names
        assert_inside_and_apart(figure)

    def test_papers_last_points_lie_under_ours_on_its_schedule(self, tmp_path):
        figure = build_figure(DEPTH, sample(tmp_path, schedule="paper"))
        test, train = figure.axes
        for axes, column in ((test, "test_error"), (train, "train_error")):
            paper = line(axes, f"paper-residual-{column}")
            expected = [curve(f"resnet{depth}", column).iloc[-1] for depth in (20, 32, 56)]
            np.testing.assert_array_equal(paper.get_ydata(), expected)
            assert paper.get_zorder() < line(axes, f"residual-{column}").get_zorder()
        assert texts(figure).count("He et al. 2015, Figure 6 (digitised)") == 2

    @pytest.mark.parametrize(
        "models", [[], ["plain56"], ["plain20", "resnet56"], ["plain18", "plain34", "vgg13"]]
    )
    def test_two_depths_of_one_kind_are_needed(self, tmp_path, models):
        assert draw_pictures([], sample(tmp_path, models), tmp_path) == []

    def test_other_families_change_nothing(self, tmp_path):
        runs = sample(tmp_path / "runs")
        (first,) = draw_pictures([], runs, tmp_path, "1")
        others = sample(tmp_path / "others", ["preresnet20", "resnet18", "vgg13"], seeds=(5,))
        (again,) = draw_pictures([], [*others, *reversed(runs)], tmp_path, "2")
        assert (first.png.name, again.svg.name) == ("depth1.png", "depth2.svg")
        assert first.png.read_bytes() == again.png.read_bytes()
        assert first.svg.read_bytes() == again.svg.read_bytes()

    @pytest.mark.parametrize(
        ("other", "key"),
        [({"schedule": "paper"}, "schedule"), ({"variant": "rate=1"}, "variant")],
    )
    def test_refuses_runs_that_cannot_stand_side_by_side(self, tmp_path, other, key):
        sample(tmp_path)
        write_run(tmp_path, "plain44", **other)
        with pytest.raises(UserError, match=f"must share their {key}"):
            build_figure(DEPTH, find_runs(tmp_path))
