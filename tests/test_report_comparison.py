"""A user's runs against the recorded ones: which are compared, and what is said."""

import pytest
from report_samples import SCHEDULES, make_rows, write_run

from degradation.report import find_runs
from degradation.report.comparison import compare

CANONICAL = {"label": "CIFAR-10", "fingerprint": "sha256:1", "canonical": True}


def write(root, error: float, seed: int = 0, model: str = "plain20", **options):
    """Write a run whose last test error is this; its noise goes by the seed."""
    rows = make_rows(SCHEDULES["short"], (error, error), options.pop("noise", seed), "test")
    rows[-1]["test_error"] = error
    return write_run(root, model, seed, rows=rows, **options)


@pytest.fixture
def compared(tmp_path):
    """Compare the runs below own/ with those below recorded/."""
    return lambda: compare(find_runs(tmp_path / "own"), find_runs(tmp_path / "recorded"))


@pytest.fixture
def own(tmp_path):
    return tmp_path / "own"


@pytest.fixture
def recorded(tmp_path):
    return tmp_path / "recorded"


class TestErrors:
    def test_are_the_last_of_each_seed(self, own, recorded, compared):
        for seed, error in ((4, 20.5), (3, 19.5)):
            write(own, error, seed)
        for seed, error in ((0, 19.0), (1, 20.0), (2, 19.2)):
            write(recorded, error, seed)
        (found,) = compared()
        assert (found.network, found.unlike, found.identical) == ("plain-20", "", [])
        assert found.own.to_dict() == {3: 19.5, 4: 20.5}
        assert found.recorded.to_dict() == {0: 19.0, 1: 20.0, 2: 19.2}


class TestIdenticalRuns:
    def test_timings_aside_the_rows_agree_in_every_bit(self, own, recorded, compared):
        path = write(own, 19)
        write(recorded, 19)
        metrics = path / "metrics.csv"
        metrics.write_text(metrics.read_text().replace(",1000.0,", ",777.0,"))
        write(own, 19, 1, noise=1)
        write(recorded, 19, 1, noise=2)  # the same final error is not enough
        assert compared()[0].identical == [0]


class TestSameConfiguration:
    def test_what_changes_the_result_is_not_compared(self, own, recorded, compared):
        write(own, 19, settings={"optimizer.rate": 0.05}, variant="rate=0.05")
        write(recorded, 19)
        assert compared() == []

    def test_another_precision_and_other_data_are_compared_and_named(self, own, recorded, compared):
        write(own, 19, variant="precision=float32", precision="float32", dataset=CANONICAL)
        write(recorded, 19)
        assert compared()[0].unlike == (
            "float32 against bfloat16; CIFAR-10 against CIFAR-10, 97 of 60,000 images from JPEG"
        )

    def test_other_files_under_the_same_label(self, own, recorded, compared):
        write(own, 19, dataset=CANONICAL)
        write(recorded, 19, dataset=CANONICAL | {"fingerprint": "sha256:2"})
        assert compared()[0].unlike == "other files of CIFAR-10"

    def test_recorded_runs_of_the_same_precision_come_first(self, own, recorded, compared):
        float32 = {"variant": "precision=float32", "precision": "float32"}
        write(own, 19, **float32)
        write(own, 18)
        write(recorded, 17)
        write(recorded, 16, **float32, dataset=CANONICAL)
        assert {(c.own[0], c.recorded[0]) for c in compared()} == {(19, 16), (18, 17)}

    def test_a_run_is_not_set_against_itself(self, tmp_path):
        write(tmp_path, 19)
        runs = find_runs(tmp_path)
        assert compare(runs, runs) == []

    def test_every_network_that_both_have_in_the_order_of_the_runs(self, own, recorded, compared):
        for model in ("resnet20", "plain56", "plain20"):
            write(own, 19, model=model)
        for model in ("plain20", "resnet20"):
            write(recorded, 19, model=model)
        assert [comparison.network for comparison in compared()] == ["plain-20", "ResNet-20"]
