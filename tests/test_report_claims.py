"""Verdicts on the paper's statements, from runs that end where a test wants them to."""

import re

import pytest
from ended_runs import PAPER, WIDTHS, as_in_paper, ended_runs
from omegaconf import OmegaConf
from report_samples import ROOT, SYNTHETIC

from degradation.errors import UserError
from degradation.report.claims import judge
from degradation.report.statements import CLAIMS, FIGURE4_CLAIMS

pytestmark = pytest.mark.filterwarnings("error")

CLOSE = (-0.02, 0.0, 0.03)  # seeds that hardly differ
SIX = ("plain20", "plain32", "plain56", "resnet20", "resnet32", "resnet56")


def verdicts(findings):
    return {finding.number: finding.verdict for finding in findings}


def spread(*models, by=CLOSE):
    """The paper's errors; each network's seeds shift in another order, so that pairs differ."""
    ends = as_in_paper(*models, spread=by)
    return {
        model: seeds[k % len(seeds) :] + seeds[: k % len(seeds)]
        for k, (model, seeds) in enumerate(ends.items())
    }


def near(error):
    return [error + shift for shift in CLOSE]


class TestStatements:
    def test_all_are_there_in_order(self):
        findings = judge(ended_runs("short", {"plain20": [19.0]}))
        assert [finding.number for finding in findings] == list(range(1, 9))
        assert findings[0].statement == "plain-56 has a higher training error than plain-20"
        assert findings[3].statement == "ResNet-56 has a lower test error than ResNet-20"
        assert "Figure 1" in findings[0].source and "Table 6" in findings[6].source

    def test_the_papers_own_curves_bear_each_of_them_out(self):
        """The signs are the paper's: checked on its errors (training errors for 1 and 3)."""
        for claim in CLAIMS:
            place = 0 if claim.column == "train_error" else 1
            for chain in claim.chains:
                errors = [claim.sign * PAPER[model][place] for model in chain]
                assert errors == sorted(errors)

    def test_the_figure_of_a_claim_trains_what_it_needs(self):
        for claim in (*CLAIMS, *FIGURE4_CLAIMS):
            spec = OmegaConf.load(ROOT / "conf/figure" / f"{claim.figure}.yaml")
            trained = {model for panel in spec.panels for model in panel.models}
            assert {m for chain in claim.chains for m in chain} - set(claim.optional) <= trained


class TestWords:
    def test_the_papers_own_errors_reproduce_all(self):
        findings = judge(ended_runs("paper", spread(*SIX)))
        assert set(verdicts(findings).values()) == {"reproduced"}

    def test_no_schedule_but_the_papers_reproduces(self):
        found = verdicts(judge(ended_runs("short", spread(*SIX))))
        assert found.pop(8) == "not asked"
        assert set(found.values()) == {"same direction"}

    def test_nor_do_other_settings(self):
        options = {"variant": "rate=0.05", "settings": {"optimizer.rate": 0.05}}
        found = verdicts(judge(ended_runs("paper", spread(*SIX), **options)))
        assert found.pop(8) == "not asked"
        assert set(found.values()) == {"same direction"}

    @pytest.mark.parametrize(
        ("schedule", "word"), [("paper", "not reproduced"), ("short", "opposite direction")]
    )
    def test_the_other_way_round(self, schedule, word):
        ends = spread(*SIX)
        ends |= {
            "plain20": ends["plain56"],
            "plain56": ends["plain20"],
            "resnet20": ends["resnet56"],
            "resnet56": ends["resnet20"],
        }
        findings = judge(ended_runs(schedule, ends))
        found = verdicts(findings)
        assert [found[number] for number in (1, 2, 3, 4, 6, 7)] == [word] * 6
        assert "Against it: plain-32 minus plain-20" in findings[5].remark

    def test_an_interval_that_spans_zero_is_undecided(self):
        ends = {"plain20": [9.0, 12.0, 10.0], "plain56": [11.0, 11.5, 13.0]}
        finding = judge(ended_runs("paper", ends))[1]
        (effect,) = finding.differences
        assert finding.verdict == "undecided" and effect.low < 0 < effect.high
        told = re.search(r"About (\d+) seeds of each network, (\d+) more", finding.remark)
        total, more = map(int, told.groups())
        assert more == total - 3 > 0
        assert "would decide it, as in the paper, if means and spread stay" in finding.remark
        swapped = {"plain20": ends["plain56"], "plain56": ends["plain20"]}
        finding = judge(ended_runs("paper", swapped))[1]
        assert "would decide it, against the paper, if means and spread stay" in finding.remark
        finding = judge(ended_runs("short", swapped))[1]
        assert "would decide it, in the opposite direction, if means" in finding.remark

    def test_equal_errors_are_undecided_for_ever(self):
        ends = {"plain20": [90.0, 90.0], "plain56": [90.0, 90.0]}
        finding = judge(ended_runs("short", ends))[0]
        assert finding.verdict == "undecided"
        assert "100 seeds" in finding.remark and "would not decide" in finding.remark


class TestOneSeed:
    def test_is_undecided_and_says_where_it_points(self):
        ends = {"plain20": [19.0], "plain56": [55.0], "resnet20": [16.0], "resnet56": [17.0]}
        findings = judge(ended_runs("short", ends))
        assert [finding.verdict for finding in findings[:4]] == ["undecided"] * 4
        (effect,) = findings[0].differences
        assert (effect.points, effect.low, effect.high) == (36.0, None, None)
        assert effect.basis == "one seed each"
        assert effect.label == "plain-56 minus plain-20, training error"
        assert "the difference points the paper's way" in findings[0].remark
        assert "an interval needs 1 more at least" in findings[0].remark
        assert "the difference points the other way" in findings[2].remark

    def test_of_one_network_names_it(self):
        ends = {"plain20": near(19.0), "plain56": [55.0]}
        finding = judge(ended_runs("short", ends))[1]
        assert finding.verdict == "undecided" and finding.differences[0].basis == "1 and 3 seeds"

    def test_among_several_differences(self):
        ends = spread(*SIX) | {"resnet56": [6.97]}
        finding = judge(ended_runs("paper", ends))[4]
        assert finding.verdict == "undecided"
        assert "One seed of ResNet-56: 3 of 3 differences point the paper's way" in finding.remark


class TestIntervals:
    def test_the_same_seeds_are_paired(self):
        ends = {"plain20": {0: 19.0, 3: 20.0}, "plain56": {0: 55.0, 3: 56.2}}
        (effect,) = judge(ended_runs("short", ends))[1].differences
        assert effect.basis == "paired, seeds 0, 3"
        assert effect.points == pytest.approx(36.1)
        # Differences 36.0 and 36.2: t(0.975; 1) = 12.7062 times 0.1.
        assert (effect.low, effect.high) == pytest.approx((36.1 - 1.27062, 36.1 + 1.27062))

    def test_other_seeds_by_welch(self):
        ends = {"plain20": [19.0, 19.4, 19.1], "plain56": {0: 55.0, 1: 56.0}}
        (effect,) = judge(ended_runs("short", ends))[1].differences
        assert effect.basis == "Welch, 2 and 3 seeds" and effect.low < effect.points < effect.high

    def test_held_out_images_give_the_validation_error(self):
        ends = {"plain20": near(19.0), "plain56": near(55.0)}
        options = {"holdout": 5000, "variant": "holdout=5000"}
        finding = judge(ended_runs("paper", ends, **options))[1]
        assert finding.statement == "plain-56 has a higher validation error than plain-20"
        assert finding.differences[0].label == "plain-56 minus plain-20, validation error"
        assert finding.verdict == "same direction"


class TestSeveralDifferences:
    def test_44_layers_take_part_where_they_have_runs(self):
        ends = spread("plain20", "plain32", "plain44", "plain56", "resnet20")
        labels = [d.label for d in judge(ended_runs("paper", ends))[5].differences]
        assert [label.partition(",")[0] for label in labels] == [
            "plain-32 minus plain-20",
            "plain-44 minus plain-32",
            "plain-56 minus plain-44",
        ]

    def test_every_step_must_hold(self):
        ends = spread("plain20", "plain32", "plain56") | {"plain32": near(9.0)}
        finding = judge(ended_runs("paper", ends))[5]
        assert finding.verdict == "not reproduced"
        assert "Against it: plain-32 minus plain-20, test error." in finding.remark

    def test_holm_asks_more_than_each_interval(self):
        """Two steps of p = 0.03 each hold alone; together each would need 0.025."""
        ends = {"resnet20": [9.0] * 3, "resnet32": [8.0] * 3, "resnet56": [7.0] * 3}
        wide = [-0.3, 0.0, 0.3]
        ends["resnet32"] = [8.0 + shift for shift in wide]
        finding = judge(ended_runs("paper", ends))[6]
        assert all(effect.high < 0 for effect in finding.differences)
        assert finding.verdict == "undecided"
        assert "takes all 2 differences together (Holm)" in finding.remark
        assert "About 4 seeds of each network, 1 more than the fewest now" in finding.remark
        assert "would decide it, as in the paper, if" in finding.remark


class TestMissingRuns:
    def test_say_which_command_makes_them(self):
        findings = judge(ended_runs("short", {"plain20": near(19.0)}))
        assert [finding.verdict for finding in findings[:7]] == ["runs missing"] * 7
        command = (
            "`.venv/bin/python -m experiments.reproduce figure={} schedule=short 'seeds=[0,1,2]'`"
        )
        assert findings[0].remark.endswith(command.format("figure1"))
        assert "plain56;" in findings[0].remark and "plain20" not in findings[0].remark
        assert findings[2].remark.endswith(command.format("figure6"))

    def test_leave_the_differences_that_there_are(self):
        """Of pairs that the claim is about alone: without 32 layers, 56 is not set against 20."""
        ends = spread("plain20", "plain56", "resnet20", "resnet56")
        findings = judge(ended_runs("short", ends))
        assert [d.label for d in findings[4].differences] == [
            "ResNet-20 minus plain-20, test error",
            "ResNet-56 minus plain-56, test error",
        ]
        assert all(difference.high < 0 for difference in findings[4].differences)
        assert findings[5].differences == ()
        assert findings[4].verdict == findings[5].verdict == "runs missing"
        assert "of plain32, resnet32" in findings[4].remark

    @pytest.mark.parametrize(
        ("have", "asked"), [([0], "[0,1,2]"), ([4, 7], "[4,7]"), ([5], "[0,1,2,5]")]
    )
    def test_ask_for_the_seeds_that_are_there_and_for_enough(self, have, asked):
        runs = ended_runs("smoke", {"plain20": dict.fromkeys(have, 19.0)})
        assert f"schedule=smoke 'seeds={asked}'`" in judge(runs)[0].remark

    def test_repeat_the_overrides(self):
        options = {
            "variant": "data=synthetic,drops=20-30,precision=bfloat16,rate=0.05",
            "settings": {
                "data.name": "synthetic",
                "schedule.drops": [20, 30],
                "optimizer.rate": 0.05,
            },
            "dataset": SYNTHETIC["label"],
        }
        runs = ended_runs("short", {"plain20": [9.0]}, **options)
        remark = judge(runs)[0].remark
        overrides = (
            "data=synthetic 'schedule.drops=[20,30]' runtime.precision=bfloat16 optimizer.rate=0.05"
        )
        assert remark.endswith(f"'seeds=[0,1,2]' {overrides}`")

    def test_of_another_shortcut_have_no_command(self):
        options = {"variant": "shortcut=B", "settings": {"model.shortcut": "B"}}
        finding = judge(ended_runs("short", {"resnet20": [9.0]}, **options))[0]
        assert finding.remark == "No finished run of plain20, plain56 with shortcut=B."

    def test_a_network_of_another_depth_is_not_the_one_of_the_claim(self):
        options = {"variant": "depth=8", "settings": {"model.depth": 8}}
        findings = judge(ended_runs("paper", {"plain20": [9.0], "plain56": [9.0]}, **options))
        assert findings[0].verdict == "runs missing" and findings[7].verdict != "reproduced"
        assert findings[0].remark == "No finished run of plain20, plain56 with depth=8."

    def test_nothing_is_claimed_of_other_networks(self):
        assert judge(ended_runs("short", {"vgg16": [9.0], "densenet40": [8.0]})) == []
        findings = judge(ended_runs("short", {"vgg16": [9.0], "resnet1202": [8.0]}))
        assert [finding.verdict for finding in findings] == ["runs missing"] * 7 + ["not asked"]


class TestFigure4:
    """Claims 9 and 10: 18 layers against 34."""

    ENDS = {"plain18": 30.0, "plain34": 33.0, "resnet18": 25.0, "resnet34": 22.0}

    def judged(self, *models, schedule="short", **options):
        ends = {model: near(self.ENDS[model]) for model in models or self.ENDS}
        return judge(ended_runs(schedule, ends, **options))

    @pytest.mark.parametrize(("schedule", "options"), [("short", WIDTHS), ("paper", {})])
    def test_are_judged_by_training_error_and_by_direction_alone(self, schedule, options):
        findings = self.judged(schedule=schedule, **options)
        assert verdicts(findings) == {9: "same direction", 10: "same direction"}
        assert findings[0].statement == "plain-34 has a higher training error than plain-18"
        assert findings[1].differences[0].label == "ResNet-34 minus ResNet-18, training error"
        assert findings[1].differences[0].points == pytest.approx(-3)
        assert all("section 4.1" in f.source and "ImageNet" in f.source for f in findings)

    def test_a_missing_network_has_a_command_with_the_overrides(self):
        findings = self.judged("plain18", "plain34", **WIDTHS)
        assert verdicts(findings) == {9: "same direction", 10: "runs missing"}
        assert findings[1].remark == (
            "No finished run of resnet18, resnet34; to train in results/runs: `.venv/bin/python -m "
            "experiments.reproduce figure=figure4 schedule=short 'seeds=[0,1,2]' "
            "'model.widths=[16,32,64,128]'`"
        )

    def test_networks_of_other_depths_have_none(self):
        options = {"variant": "depths=1-1-1-1", "settings": {"model.depths": [1, 1, 1, 1]}}
        findings = self.judged("plain18", **options)
        assert findings[0].remark == "No finished run of plain18, plain34 with depths=1-1-1-1."

    def test_stand_after_those_of_section_4_2(self):
        runs = ended_runs("short", {"plain20": [19.0], "plain34": [30.0]})
        assert [finding.number for finding in judge(runs)] == list(range(1, 11))


class TestNearness:
    """Claim 8: final test errors within 0.5 points of the paper's."""

    def judged(self, ends, schedule="paper"):
        return judge(ended_runs(schedule, ends))[7]

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (9.25, "(+0.50): within 0.5 points"),
            (8.25, "(−0.50): within 0.5 points"),
            (9.26, "(+0.51): further off than 0.5 points"),
            (8.24, "(−0.51): further off than 0.5 points"),
        ],
    )
    def test_one_seed_is_undecided_and_says_how_far_off_it_is(self, error, told):
        finding = self.judged({"resnet20": [error]})
        (effect,) = finding.differences
        assert finding.verdict == "undecided"
        assert effect.label == "ResNet-20 minus the paper's 8.75, test error"
        assert effect.points == pytest.approx(error - 8.75) and effect.basis == "one seed"
        assert f"One seed of ResNet-20 {told}. A single seed cannot tell how many" in finding.remark

    def test_single_seeds_on_both_sides_are_told_apart(self):
        finding = self.judged({"resnet20": [8.8], "resnet56": [9.0]})
        assert "One seed of ResNet-20 (+0.05): within 0.5 points." in finding.remark
        assert "One seed of ResNet-56 (+2.03): further off than 0.5 points." in finding.remark
        assert finding.remark.count("A single seed cannot tell how many") == 1

    @pytest.mark.parametrize(
        ("errors", "verdict"),
        [
            ([8.7, 8.8, 8.9], "reproduced"),
            ([8.2, 9.0, 9.4], "undecided"),
            ([9.2, 9.3, 9.4], "undecided"),
            ([9.8, 9.9, 10.0], "not reproduced"),
            ([7.0, 7.1, 7.2], "not reproduced"),
        ],
    )
    def test_the_interval_decides(self, errors, verdict):
        assert self.judged({"resnet20": errors}).verdict == verdict

    def test_an_interval_that_reaches_both_sides_says_how_many_seeds_more(self):
        finding = self.judged({"resnet56": [6.2, 7.0, 8.0]})
        (effect,) = finding.differences
        assert effect.points == pytest.approx(7.0667 - 6.97, abs=1e-4)
        assert effect.low < -0.5 and effect.high > 0.5 and effect.basis == "seeds 0, 1, 2"
        assert finding.verdict == "undecided"
        assert "Open for ResNet-56: the interval reaches both sides of 0.5." in finding.remark
        # By hand: 0.0967 + t(0.975; n − 1) × 0.9018 / sqrt(n) is below 0.5 from n = 22 on.
        assert "About 22 seeds of each network, 19 more than the fewest now" in finding.remark

    def test_beside_a_single_seed_nobody_knows_how_many_more_would_do(self):
        finding = self.judged({"resnet20": [8.8], "resnet56": [6.2, 7.0, 8.0]})
        assert "A single seed cannot tell how many more" in finding.remark
        assert "Open for ResNet-56" in finding.remark and "About " not in finding.remark

    def test_every_network_counts(self):
        finding = self.judged(spread(*SIX) | {"plain32": near(11.0)})
        assert finding.verdict == "not reproduced" and len(finding.differences) == 6
        assert "Further off: plain-32." in finding.remark

    def test_is_not_asked_of_a_shorter_schedule(self):
        finding = self.judged({"resnet20": [8.75]}, "short")
        assert finding.verdict == "not asked" and finding.differences == () and finding.remark

    def test_without_a_network_of_the_paper(self):
        finding = self.judged({"plain110": [8.75]})
        assert finding.verdict == "runs missing"
        assert "figure=figure6 schedule=paper" in finding.remark


class TestRunsThatCannotBeJudged:
    def refused(self, runs, *words):
        with pytest.raises(UserError) as caught:
            judge(runs)
        assert "\n" not in str(caught.value)
        assert all(word in str(caught.value) for word in words)

    def test_none(self):
        self.refused([], "no finished runs")

    def test_two_schedules(self):
        runs = ended_runs("short", {"plain20": [9.0]}) + ended_runs("paper", {"plain56": [9.0]})
        self.refused(runs, "schedule", "short", "paper")

    def test_two_variants(self):
        runs = ended_runs("short", {"plain20": [9.0]})
        runs += ended_runs("short", {"plain56": [9.0]}, variant="rate=0.05")
        self.refused(runs, "overrides", "rate=0.05", "none")

    def test_a_seed_twice(self):
        runs = ended_runs("short", {"plain20": [9.0]})
        self.refused(runs + ended_runs("short", {"plain20": [9.0]}), "plain20 with seed=0")
