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
from degradation.report import build_depth, draw_depth, find_runs
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
        axes = build_depth(runs).axes[number]
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
        figure = build_depth(sample(tmp_path, models, schedule=schedule))
        assert len({axes.get_ylim() for axes in figure.axes}) == 1
        names = {"plain", "residual"} if len(models) > 2 else {"plain"}
        for axes in figure.axes:
            assert {text.get_text() for text in axes.texts} == names
        assert_inside_and_apart(figure)

    def test_caption_says_what_is_drawn_and_what_it_cannot_show(self, tmp_path):
        written = texts(build_depth(sample(tmp_path, seeds=(0, 1))))
        for words in (
            "He et al. 2015, section 4.2",
            "A dot is the last evaluation of one seed",
            "Seeds 0, 1. Schedule short: 4,000 iterations",
            "CIFAR-10, 97 of 60,000 images from JPEG (not the canonical archive).",
            "not the paper's schedule (64,000 iterations)",
            "plain-56 has barely begun to learn",
        ):
            assert words in written
        assert "digitised" not in written

    def test_papers_last_points_lie_under_ours_on_its_schedule(self, tmp_path):
        figure = build_depth(sample(tmp_path, schedule="paper"))
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
        runs = sample(tmp_path / "runs", models)
        assert build_depth(runs) is None
        assert draw_depth(runs, tmp_path / "out") == []
        assert not (tmp_path / "out").exists()

    def test_other_families_change_nothing(self, tmp_path):
        runs = sample(tmp_path / "runs")
        first = draw_depth(runs, tmp_path / "one")
        others = sample(tmp_path / "others", ["preresnet20", "resnet18", "vgg13"], seeds=(5,))
        again = draw_depth([*others, *reversed(runs)], tmp_path / "two")
        assert [path.name for path in first] == ["depth.png", "depth.svg"]
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]

    @pytest.mark.parametrize(
        ("other", "key"),
        [({"schedule": "paper"}, "schedule.name"), ({"variant": "rate=1"}, "overrides")],
    )
    def test_refuses_runs_that_cannot_stand_side_by_side(self, tmp_path, other, key):
        sample(tmp_path)
        write_run(tmp_path, "plain44", **other)
        with pytest.raises(UserError, match=f"final error against depth: .* differ in {key}"):
            build_depth(find_runs(tmp_path))
