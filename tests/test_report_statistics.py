"""Intervals, joint decisions and the number of seeds, against SciPy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from degradation.report.statistics import (
    STEP,
    Estimate,
    decide,
    difference,
    directions,
    holm,
    offset,
    seeds_to_decide,
)

pytestmark = pytest.mark.filterwarnings("error")


def known(points, p, seeds=3, deviation=1.0):
    """An estimate with an interval, of which only the p-value matters."""
    return Estimate(points, "", seeds, low=points - 1, high=points + 1, p=p, deviation=deviation)


def needed(estimates):
    """The seeds that would settle whether all of the differences are above zero."""
    found = seeds_to_decide(estimates, lambda more: decide(more, 1))
    return found and found[0]


class TestDifference:
    def test_the_same_seeds_are_paired(self):
        a, b = {2: 55.0, 0: 54.1, 1: 56.3}, {0: 19.0, 1: 19.5, 2: 18.9}
        found = difference(a, b)
        pairs = [35.1, 36.8, 36.1]
        test = stats.ttest_rel([54.1, 56.3, 55.0], [19.0, 19.5, 18.9])
        interval = test.confidence_interval(0.95)
        assert found.points == pytest.approx(np.mean(pairs))
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.p == pytest.approx(test.pvalue)
        # By hand: t(0.975; 2) = 4.302653.
        half = 4.302653 * np.std(pairs, ddof=1) / math.sqrt(3)
        assert found.high - found.points == pytest.approx(half, rel=1e-6)
        assert found.basis == "paired, seeds 0, 1, 2" and found.sure and found.seeds == 3

    def test_other_seeds_are_compared_by_welch(self):
        a, b = {0: 10.0, 1: 11.0, 2: 12.5}, {0: 8.0, 1: 8.2}
        found = difference(a, b)
        test = stats.ttest_ind(list(a.values()), list(b.values()), equal_var=False)
        interval = test.confidence_interval(0.95)
        assert found.points == pytest.approx(np.mean([10, 11, 12.5]) - 8.1)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.p == pytest.approx(test.pvalue)
        assert found.basis == "Welch, 3 and 2 seeds" and found.seeds == 2

    def test_as_many_but_different_seeds_are_not_paired(self):
        assert difference({0: 1.0, 1: 2.0}, {1: 1.0, 2: 2.5}).basis == "Welch, 2 and 2 seeds"

    @pytest.mark.parametrize(
        ("a", "b", "basis"),
        [
            ({0: 13.0}, {0: 9.0}, "one seed each"),
            ({0: 13.0}, {1: 9.0}, "one seed each"),
            ({0: 13.0}, {0: 8.0, 1: 9.0, 2: 10.0}, "1 and 3 seeds"),
            ({0: 12.0, 1: 14.0}, {1: 9.0}, "2 and 1 seeds"),
        ],
    )
    def test_one_seed_gives_no_interval(self, a, b, basis):
        found = difference(a, b)
        assert found.points == pytest.approx(4)
        assert (found.low, found.high, found.sure) == (None, None, False)
        assert found.p == 1 and found.basis == basis

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ({0: 13.1, 1: 14.1}, {0: 9.1, 1: 10.1}),  # equal differences but for rounding
            ({0: 13.1, 1: 13.1, 2: 13.1}, {0: 9.1, 1: 9.1}),
        ],
    )
    def test_without_spread_the_interval_is_that_of_one_step(self, a, b):
        found = difference(a, b)
        assert found.points == pytest.approx(4) and found.deviation >= STEP
        assert 3.9 < found.low < 4 < found.high < 4.1
        assert 0 < found.p < 0.05 and decide([found], 1) is True

    def test_seeds_that_agree_by_chance_do_not_make_a_small_difference_sure(self):
        """Two seeds, each 0.05 points higher: t(0.975; 1) × 0.01 / sqrt(2) is 0.09."""
        found = difference({0: 9.05, 1: 9.35}, {0: 9.0, 1: 9.3})
        assert (found.low, found.high) == pytest.approx((0.05 - 0.0898, 0.05 + 0.0898), abs=1e-4)
        assert decide([found], 1) is None

    def test_equal_networks_have_no_difference(self):
        found = difference({0: 90.0, 1: 90.0}, {0: 90.0, 1: 90.0})
        assert found.points == 0 and found.low == -found.high < 0 and found.p == 1
        assert decide([found], 1) is None and needed([found]) is None

    def test_seeds_that_agree_on_one_side_alone(self):
        """SciPy warns of nearly identical data there; here it is one step."""
        found = difference({0: 10.0, 1: 11.0, 2: 12.0}, {0: 8.0, 1: 8.0})
        assert found.low < 3 < found.high and math.isfinite(found.p)


class TestOffset:
    def test_is_a_one_sample_interval(self):
        found = offset({1: 8.9, 0: 8.6, 2: 8.7}, 8.75)
        interval = stats.ttest_1samp([8.6, 8.9, 8.7], 8.75).confidence_interval(0.95)
        assert (found.low + 8.75, found.high + 8.75) == pytest.approx((interval.low, interval.high))
        assert found.basis == "seeds 0, 1, 2"

    def test_one_seed(self):
        found = offset({0: 9.0}, 8.75)
        assert (found.points, found.low, found.basis) == (0.25, None, "one seed")


class TestHolm:
    def test_textbook_example(self):
        # 4 × 0.005, 3 × 0.01, then 2 × 0.03, and 0.04 raised to the one before it.
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_is_at_most_one_and_leaves_a_single_value(self):
        assert holm([0.6, 0.7]) == [1, 1]
        assert holm([0.04]) == [0.04]


class TestDecide:
    def test_all_must_hold(self):
        assert decide([known(1, 0.01), known(2, 0.02), known(3, 0.03)], 1) is True
        assert decide([known(-1, 0.01), known(-2, 0.02)], -1) is True
        assert decide([known(1, 0.01), known(2, 0.2)], 1) is None

    def test_each_alone_can_be_significant_and_both_not_together(self):
        pair = [known(1, 0.04), known(1, 0.04)]
        assert directions(pair[:1]) == [1] and directions(pair) == [0, 0]
        assert decide(pair, 1) is None

    def test_one_the_other_way_refutes(self):
        assert decide([known(1, 0.001), known(-1, 0.001), known(1, 0.9)], 1) is False
        assert decide([known(1, 0.001), known(-1, 0.9)], 1) is None

    def test_a_pair_without_an_interval_leaves_it_open(self):
        assert decide([known(1, 0.001), Estimate(5, "one seed each", 1)], 1) is None


class TestSeedsToDecide:
    def test_is_where_the_interval_first_excludes_zero(self):
        a, b = {0: 10.4, 1: 9.8, 2: 11.3}, {0: 10.0, 1: 10.0, 2: 10.0}
        found = difference(a, b)
        assert decide([found], 1) is None
        deviation = np.std([0.4, -0.2, 1.3], ddof=1)

        def low(seeds):
            return 0.5 - stats.t.ppf(0.975, seeds - 1) * deviation / math.sqrt(seeds)

        assert needed([found]) == 12
        assert low(12) > 0 > low(11)

    def test_takes_both_spreads_with_welch(self):
        """As many seeds of each with the same spreads, by SciPy, decide; one fewer do not."""
        found = difference({0: 10.0, 1: 12.0, 2: 11.0}, {3: 9.8, 4: 10.2, 5: 9.4})
        seeds = needed([found])
        p = [
            stats.ttest_ind_from_stats(11, 1, n, 9.8, 0.4, n, equal_var=False).pvalue
            for n in (seeds - 1, seeds)
        ]
        assert p[1] < 0.05 < p[0]

    def test_says_which_way_it_would_go(self):
        found = difference({0: 10.4, 1: 9.8, 2: 11.3}, {0: 10.0, 1: 10.0, 2: 10.0})
        assert seeds_to_decide([found], lambda more: decide(more, 1)) == (12, True)
        assert seeds_to_decide([found], lambda more: decide(more, -1)) == (12, False)

    def test_pairs_that_have_more_seeds_keep_them(self):
        """Ten seeds of one pair settle it; by hand, those of the other take a third seed."""
        many = difference(dict(enumerate([1.1, 0.1] * 5)), dict.fromkeys(range(10), 0.0))
        few = difference({0: 27.5, 1: 32.5}, {0: 0.0, 1: 0.0})
        assert (decide([many], 1), decide([few], 1)) == (True, None)
        assert needed([many, few]) == 3

    def test_several_differences_need_more_than_one(self):
        found = difference({0: 10.4, 1: 9.8, 2: 11.3}, {0: 10.0, 1: 10.0, 2: 10.0})
        assert needed([found, found, found]) > needed([found])

    def test_a_hundred_may_be_too_few(self):
        found = difference({0: 10.01, 1: 9.0, 2: 11.0}, {0: 10.0, 1: 10.0, 2: 10.0})
        assert needed([found]) is None
