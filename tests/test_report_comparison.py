"""A user's runs against the recorded ones: which are compared, and what is said."""

from report_samples import SCHEDULES, make_rows, write_run

from degradation.report import find_runs
from degradation.report.comparison import Comparison, compare

CANONICAL = {"label": "CIFAR-10", "fingerprint": "sha256:1", "canonical": True}
FLOAT32 = {"settings": {"runtime.precision": "float32"}, "precision": "float32"}


def write(root, error: float = 19, seed: int = 0, noise: int | None = None, **options):
    """Write a run whose last test error is this; its noise goes by the seed."""
    rows = make_rows(SCHEDULES["short"], (error, error), seed if noise is None else noise, "test")
    rows[-1]["test_error"] = error
    return write_run(root, seed=seed, rows=rows, **options)


def compared(root, own: list[dict], recorded: list[dict]) -> list[Comparison]:
    """Compare a user's runs with recorded ones; each is what `write` takes."""
    for place, runs in (("own", own), ("recorded", recorded)):
        for options in runs:
            write(root / place, **options)
    return compare(find_runs(root / "own"), find_runs(root / "recorded"))


def test_errors_are_the_last_of_each_seed(tmp_path):
    own, recorded = {3: 19.5, 4: 20.5}, {0: 19.0, 1: 20.0, 2: 19.2}
    sides = ([{"seed": k, "error": e} for k, e in side.items()] for side in (own, recorded))
    (found,) = compared(tmp_path, *sides)
    assert (found.network, found.unlike, found.identical) == ("plain-20", "", [])
    assert (found.own.to_dict(), found.recorded.to_dict()) == (own, recorded)


def test_of_identical_runs_the_rows_agree_in_every_bit_timings_aside(tmp_path):
    metrics = write(tmp_path / "own") / "metrics.csv"
    metrics.write_text(metrics.read_text().replace(",1000.0,", ",777.0,"))
    other = {"seed": 1, "noise": 2}  # the same final error is not enough
    (found,) = compared(tmp_path, [{"seed": 1}], [{}, other])
    assert found.identical == [0]


def test_what_changes_the_result_is_not_compared(tmp_path):
    assert compared(tmp_path, [{"settings": {"optimizer.rate": 0.05}}], [{}]) == []


def test_another_precision_and_other_data_are_compared_and_named(tmp_path):
    (found,) = compared(tmp_path, [{**FLOAT32, "dataset": CANONICAL}], [{}])
    assert found.unlike == (
        "float32 against bfloat16; CIFAR-10 against CIFAR-10, 97 of 60,000 images from JPEG"
    )


def test_other_files_under_the_same_label(tmp_path):
    others = CANONICAL | {"fingerprint": "sha256:2"}
    (found,) = compared(tmp_path, [{"dataset": CANONICAL}], [{"dataset": others}])
    assert found.unlike == "other files of CIFAR-10"


def test_recorded_runs_of_the_same_precision_come_first(tmp_path):
    own = [{"error": 19, **FLOAT32}, {"error": 18}]
    recorded = [{"error": 17}, {"error": 16, **FLOAT32, "dataset": CANONICAL}]
    found = compared(tmp_path, own, recorded)
    assert {(c.own[0], c.recorded[0]) for c in found} == {(19, 16), (18, 17)}


def test_a_run_is_not_set_against_itself(tmp_path):
    write(tmp_path)
    runs = find_runs(tmp_path)
    assert compare(runs, runs) == []


def test_every_network_that_both_have_in_the_order_of_the_runs(tmp_path):
    own = [{"model": model} for model in ("resnet20", "plain56", "plain20")]
    found = compared(tmp_path, own, own[::2])
    assert [comparison.network for comparison in found] == ["plain-20", "ResNet-20"]
