"""Intervals and what is decided by them, against SciPy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from degradation.report.statistics import Difference, contrast, holds, welch, z_score

pytestmark = pytest.mark.filterwarnings("error")


class TestWelch:
    def test_is_scipys_interval(self):
        a, b = [10.0, 11.0, 12.5], [8.0, 8.2]
        found, test = welch(a, b), stats.ttest_ind(a, b, equal_var=False)
        interval = test.confidence_interval(0.95)
        assert found.points == pytest.approx(np.mean(a) - 8.1)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.p == pytest.approx(test.pvalue)

    @pytest.mark.parametrize(("a", "b"), [([13.0], [9.0]), ([13.0], [8.0, 9.0, 10.0])])
    def test_one_seed_gives_no_interval(self, a, b):
        assert welch(a, b) == Difference(4.0, None, None, 1.0)

    def test_a_spread_below_one_image_counts_as_one(self):
        """Standard deviations of 0.01 over two seeds: error 0.01, two degrees of freedom."""
        half = stats.t.ppf(0.975, 2) * 0.01
        for a, b in (([13.1, 13.1], [9.1, 9.1]), ([13.099, 13.101], [9.1, 9.1])):
            found = welch(a, b)
            assert (found.low, found.high) == pytest.approx((4 - half, 4 + half))
        assert welch([9.0, 9.02], [9.0, 9.02]).high > half  # 0.014 is above

    def test_equal_networks_have_no_difference(self):
        found = welch([90.0, 90.0], [90.0, 90.0])
        assert found.points == 0 and found.low == -found.high < 0 and found.p == 1


class TestContrast:
    def test_of_four_groups_is_welchs_by_hand(self):
        """A difference of differences: variances add up, degrees of freedom by Satterthwaite."""
        groups = [[50.0, 52.0, 55.0], [19.0, 19.5, 20.5], [36.0, 37.0, 35.5], [20.0, 21.0, 20.2]]
        found = contrast(groups, [1, -1, -1, 1])
        variances = [np.var(group, ddof=1) / 3 for group in groups]
        freedom = sum(variances) ** 2 / sum(v**2 / 2 for v in variances)
        half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(variances))
        points = (157 / 3 - 59 / 3) - (108.5 / 3 - 61.2 / 3)
        assert found.points == pytest.approx(points)
        assert (found.low, found.high) == pytest.approx((points - half, points + half))


class TestPaired:
    """One group: the differences, seed by seed."""

    def test_is_scipys_interval(self):
        a, b = np.array([54.1, 56.3, 55.0]), np.array([19.0, 19.5, 18.9])
        found, test = contrast([a - b], [1]), stats.ttest_rel(a, b)
        interval = test.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        # By hand: t(0.975; 2) = 4.302653.
        half = 4.302653 * np.std([35.1, 36.8, 36.1], ddof=1) / math.sqrt(3)
        assert found.high - found.points == pytest.approx(half, rel=1e-6)

    def test_seeds_that_agree_by_chance_do_not_make_a_small_difference_sure(self):
        """Two seeds, each 0.05 points higher: t(0.975; 1) × 0.01 / √2 is 0.09."""
        found = contrast([[0.05, 0.05]], [1])
        assert (found.low, found.high) == pytest.approx((0.05 - 0.0898, 0.05 + 0.0898), abs=1e-4)


class TestHolds:
    def known(self, *pairs):
        return [Difference(points, points - 1, points + 1, p) for points, p in pairs]

    def test_every_pair_must_and_that_at_its_own_level(self):
        assert holds(self.known((1, 0.04), (2, 0.04), (3, 0.04)), 1) is True
        assert holds(self.known((-1, 0.01), (-2, 0.04)), -1) is True
        assert holds(self.known((1, 0.01), (2, 0.06)), 1) is None
        assert holds(self.known((0, 1.0)), 1) is None

    def test_one_the_other_way_refutes_at_a_level_that_is_shared_by_all(self):
        assert holds(self.known((1, 0.01), (-1, 0.02), (1, 0.9)), 1) is None
        assert holds(self.known((1, 0.01), (-1, 0.016), (1, 0.9)), 1) is False
        assert holds(self.known((-1, 0.04)), 1) is False

    def test_a_pair_without_an_interval_leaves_it_open(self):
        assert holds([*self.known((1, 0.001)), Difference(5.0)], 1) is None

    def test_p_below_the_level_is_the_interval_beyond_zero(self):
        """Of one pair and of two; as one of three it is no longer sure enough."""
        a, b = [10.4, 10.1, 10.9], [9.0, 9.1, 9.3]
        test = stats.ttest_ind(a, b, equal_var=False)
        for pairs, refuted in ((1, True), (2, True), (3, False)):
            low, _ = test.confidence_interval(1 - 0.05 / pairs)
            others = [Difference(-1.0)] * (pairs - 1)
            assert (holds([welch(a, b), *others], -1) is False) == (low > 0) == refuted


class TestZ:
    def test_is_the_difference_by_what_one_more_run_may_differ(self):
        errors = [8.0, 9.0, 10.0]
        assert z_score(errors, 8.0) == pytest.approx(1 / math.sqrt(4 / 3))
        assert z_score(errors, 8.0, runs=5) == pytest.approx(1 / math.sqrt(1 / 5 + 1 / 3))

    def test_takes_a_spread_of_at_least_a_fifth_of_a_point(self):
        assert z_score([8.85, 8.85], 8.75) == pytest.approx(0.1 / (0.2 * math.sqrt(1.5)))

    def test_one_seed_has_none(self):
        assert z_score([9.0], 8.75) is None
