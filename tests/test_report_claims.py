"""Verdicts on the paper's statements, from runs that end where a test wants them to."""

import pytest
from ended_runs import WIDTHS, as_in_paper, ended_runs

from degradation.config import read_figures
from degradation.errors import UserError
from degradation.report import models_of
from degradation.report.claims import CLAIMS, headline, judge

pytestmark = pytest.mark.filterwarnings("error")

CLOSE = (-0.02, 0.0, 0.03)  # seeds that hardly differ
RATE = {"optimizer.rate": 0.05}
OVERRIDES = {"data.name": "synthetic", "schedule.drops": [20, 30]}
OVERRIDES |= {"runtime.precision": "bfloat16", **RATE}
SIX = ("plain20", "plain32", "plain56", "resnet20", "resnet32", "resnet56")


def verdicts(findings):
    return {finding.number: finding.verdict for finding in findings}


def spread(*models):
    """The paper's errors, of seeds that hardly differ."""
    return as_in_paper(*models, spread=CLOSE)


def near(error):
    return [error + shift for shift in CLOSE]


def test_the_figure_of_a_claim_trains_what_it_needs():
    figures = read_figures()
    for claim in CLAIMS:
        trained = models_of(figures[claim.figure])
        assert set(claim.models) - set(claim.optional) <= set(trained)


class TestWords:
    @pytest.mark.parametrize(
        ("schedule", "settings", "word"),
        [
            ("paper", {}, "reproduced"),
            ("short", {}, "same direction"),
            ("paper", RATE, "same direction"),
        ],
    )
    def test_the_papers_own_errors_reproduce_all_by_its_schedule_and_settings_alone(
        self, schedule, settings, word
    ):
        found = verdicts(judge(ended_runs(schedule, spread(*SIX), settings)))
        assert found == dict.fromkeys(range(1, 8), word)

    @pytest.mark.parametrize(
        ("schedule", "word"), [("paper", "not reproduced"), ("short", "opposite direction")]
    )
    def test_the_other_way_round(self, schedule, word):
        ends = spread(*SIX)
        for kind in ("plain", "resnet"):
            shallow, deep = f"{kind}20", f"{kind}56"
            ends |= {shallow: ends[deep], deep: ends[shallow]}
        found = verdicts(judge(ended_runs(schedule, ends)))
        assert [found[number] for number in (1, 2, 3, 4, 6, 7)] == [word] * 6


class TestSeveralPairs:
    def test_44_layers_take_part_where_they_have_runs(self):
        ends = spread("plain20", "plain32", "plain44", "plain56", "resnet20")
        labels = [effect.label for effect in judge(ended_runs("paper", ends))[5].effects]
        assert labels == ["plain-32 − plain-20", "plain-44 − plain-32", "plain-56 − plain-44"]


class TestMissingRuns:
    def test_leave_the_effects_that_there_are(self):
        """Of pairs that the claim is about alone: without 32 layers, 56 is not set against 20."""
        ends = spread("plain20", "plain56", "resnet20", "resnet56")
        findings = judge(ended_runs("short", ends))
        labels = [effect.label for effect in findings[4].effects]
        assert labels == ["ResNet-20 − plain-20", "ResNet-56 − plain-56"]
        assert findings[5].effects == ()
        assert findings[4].verdict == findings[5].verdict == "runs missing"
        assert findings[4].lacking == ("plain32", "resnet32")

    def test_a_plain_twin_is_not_the_network_that_it_was_made_from(self):
        """ResNet-20 without shortcuts is no network of the paper's."""
        ends = {"resnet20": [17.0], "resnet56": [13.0]}
        runs = ended_runs("short", ends, {"model.shortcut": None})
        assert {run.network for run in runs} == {"resnet20", "resnet56"}
        assert judge(runs)[2].verdict == "runs missing"

    @pytest.mark.parametrize(
        ("have", "settings", "asked"),
        [
            ([0], {}, "'seeds=[0,1,2]'"),
            ([4, 7], {}, "'seeds=[4,7]'"),
            ([5], {}, "'seeds=[0,1,2,5]'"),
            ([0], {"runtime.name": "gpu"}, "'seeds=[0,1,2]' runtime=gpu"),
            (
                [0],
                OVERRIDES,
                "'seeds=[0,1,2]' data=synthetic 'schedule.drops=[20,30]' "
                "runtime.precision=bfloat16 optimizer.rate=0.05",
            ),
        ],
    )
    def test_ask_for_enough_seeds_as_those_that_are_there_were_made(self, have, settings, asked):
        runs = ended_runs("medium", {"plain20": dict.fromkeys(have, 19.0)}, settings)
        assert judge(runs)[0].command.endswith(f"schedule=medium {asked}")

    def test_have_no_command_where_networks_cannot_have_the_overrides(self):
        finding = judge(ended_runs("short", {"resnet20": [9.0]}, {"model.shortcut": "B"}))[0]
        assert (finding.lacking, finding.command) == (("plain20", "plain56"), "")

    def test_a_network_of_another_depth_is_not_the_one_of_the_claim(self):
        ends = {"plain20": [9.0], "plain56": [9.0]}
        finding, *_ = judge(ended_runs("paper", ends, {"model.depth": 8}))
        assert (finding.verdict, finding.command) == ("runs missing", "")

    def test_nothing_is_claimed_of_other_networks(self):
        assert judge(ended_runs("short", {"vgg16": [9.0], "densenet40": [8.0]})) == []
        assert headline([]) == "None of the paper's claims can be judged by these runs."
        findings = judge(ended_runs("short", {"vgg16": [9.0], "resnet1202": [8.0]}))
        assert [finding.verdict for finding in findings] == ["runs missing"] * 7


class TestFigure4:
    """Claims 8 and 9: 18 layers against 34."""

    ENDS = {"plain18": 30.0, "plain34": 33.0, "resnet18": 25.0, "resnet34": 22.0}

    @pytest.mark.parametrize(("schedule", "settings"), [("short", WIDTHS), ("paper", {})])
    def test_are_judged_by_training_error_and_by_direction_alone(self, schedule, settings):
        ends = {model: near(end) for model, end in self.ENDS.items()}
        findings = judge(ended_runs(schedule, ends, settings))
        assert verdicts(findings) == {8: "same direction", 9: "same direction"}
        assert findings[0].statement == "plain-34 has a higher training error than plain-18"
        assert findings[1].effects[0].label == "ResNet-34 − ResNet-18"
        assert findings[1].effects[0].difference.points == pytest.approx(-3)
        assert all("section 4.1" in f.source and "ImageNet" in f.source for f in findings)

    def test_a_missing_network_has_a_command_with_the_overrides(self):
        models = ("plain18", "plain34")
        ends = {model: [(9.0 + n, 9.0)] * 3 for n, model in enumerate(models)}
        findings = judge(ended_runs("short", ends, WIDTHS))
        assert verdicts(findings) == {8: "same direction", 9: "runs missing"}
        assert findings[1].lacking == ("resnet18", "resnet34")
        assert findings[1].command.endswith(
            "figure=figure4 schedule=short 'seeds=[0,1,2]' 'model.widths=[16,32,64,128]'"
        )


class TestRunsThatCannotBeJudged:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("paper", {"plain56": [9.0]}), "schedule"),
            (("short", {"plain56": [9.0]}, RATE), "none and .* has rate=0.05"),
            (("short", {"plain20": [9.0]}), "both plain20 with seed=0"),
        ],
    )
    def test_of_two_settings_or_twice_the_same(self, options, words):
        runs = ended_runs("short", {"plain20": [9.0]}) + ended_runs(*options)
        with pytest.raises(UserError, match=words):
            judge(runs)


class TestHeadline:
    def test_of_single_seeds_says_which_way_they_point(self):
        ends = {"plain20": [(19.0, 50.0)], "plain56": [(18.0, 55.0)]}
        told = headline(judge(ended_runs("short", ends)))
        which = "1 of 2 have the paper's sign (plain-56 − plain-20, test error)."
        assert told.endswith(f"Of the undecided claims' differences, {which}")
        # A claim that lacks runs is not judged, though it has a difference.
        assert headline(judge(ended_runs("short", ends | {"resnet20": [(18.0, 40.0)]}))) == told
        ends = {model: errors * 2 for model, errors in ends.items()}
        assert "One seed" not in headline(judge(ended_runs("short", ends)))
