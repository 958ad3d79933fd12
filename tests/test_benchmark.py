"""The benchmark: its table, the hours that follow from it, its files, and workers that die."""

import os
import sys

import numpy as np
import pandas as pd
import pytest
from command_line import refusal
from processes import SMALL, SYNTHETIC

from degradation.benchmark import contenders as contenders_of
from degradation.benchmark import measure as measuring
from degradation.benchmark import results
from degradation.benchmark.measure import Contender
from experiments import benchmark
from experiments.command import command
from experiments.compose import compose

STOCK, OURS = "stock Keras, float32", "this repository, bfloat16"
BARE = "constant batch, bfloat16"
SETTINGS = [*SMALL, *SYNTHETIC]
PNG = b"\x89PNG\r\n\x1a\n"


def measured(**speeds: dict[str, list[float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables that `measure` gives, of `network={contender: speeds}`."""
    rows, facts = [], []
    for network, by_contender in speeds.items():
        for contender, values in by_contender.items():
            key = {"network": network, "contender": contender}
            rows += [{**key, "repeat": n, "images_per_second": x} for n, x in enumerate(values)]
            facts.append({**key, "first_update_seconds": 5.0, "peak_bytes": 2**30})
            if contender.startswith("this"):
                facts[-1] |= {"evaluation_seconds": 3.0, "checkpoint_seconds": 0.5}
    return pd.DataFrame(rows), pd.DataFrame(facts)


def test_a_table_has_medians_with_ranges_and_ratios_within_a_repeat_network_by_network():
    # Fast and slow rounds: ratios of medians would be 2 and 2.5.
    speeds = {STOCK: [100, 400, 200], OURS: [300, 400, 500], BARE: [300, 500, 500]}
    tables = measured(resnet56={STOCK: [10], OURS: [20]}, resnet20=speeds)
    table = results.summarize(*tables, stock=STOCK, ours=OURS)
    assert list(table.network) == ["resnet56"] * 2 + ["resnet20"] * 3
    assert list(table.contender) == [STOCK, OURS, STOCK, OURS, BARE]  # in the order measured
    assert list(table.ratio_median) == [1, 2, 1, 2.5, 2.5]
    stock, ours, bare = (table.loc[place] for place in (2, 3, 4))
    assert stock.images_per_second_median == 200
    assert (stock.images_per_second_min, stock.images_per_second_max) == (100, 400)
    assert (ours.ratio_median, ours.ratio_min, ours.ratio_max) == (2.5, 1.0, 3.0)  # 3, 1 and 2.5
    over = ["ours_over_median", "ours_over_min", "ours_over_max"]
    assert (list(stock[over]), list(bare[over])) == ([2.5, 1.0, 3.0], [1.0, 0.8, 1.0])


class TestTrainingHours:
    def hours(self, **speeds: float) -> pd.DataFrame:
        """Of images per second by network; 3.5 s an evaluation with its checkpoint."""
        tables = measured(**{network: {OURS: [value]} for network, value in speeds.items()})
        table = results.summarize(*tables, stock=OURS, ours=OURS)
        return results.training_hours(table, OURS, batch=128).set_index(["schedule", "figure"])

    def test_figure_1_is_a_run_of_each_depth(self):
        found = self.hours(resnet20=500, resnet56=200)
        for schedule, updates, evaluations in (("short", 4_000, 20), ("paper", 64_000, 80)):
            training = updates * 128 * (1 / 500 + 1 / 200)
            paused = 2 * evaluations * 3.5
            hours, percent = found.loc[schedule, "Figure 1"]
            assert hours == pytest.approx((training + paused) / 3600)
            assert percent == pytest.approx(100 * paused / (training + paused))

    def test_depths_between_lie_on_the_line(self):
        at32 = 1 / 500 + (32 - 20) / (56 - 20) * (1 / 200 - 1 / 500)
        training = 2 * 16_000 * 128 * (1 / 500 + at32 + 1 / 200)
        found = self.hours(resnet20=500, resnet56=200).loc["medium", "Figure 6"]
        assert found.hours == pytest.approx((training + 6 * 40 * 3.5) / 3600)

    def test_one_depth_tells_nothing_of_others(self):
        """Nor do other networks of any depth."""
        assert self.hours(plain20=400, resnet20=500, vgg16=300, densenet40=200).empty


class TestMeasure:
    """Real processes, of a network of eight layers and no data of its own."""

    def measure(self, *names: str):
        config = compose("config", SETTINGS)
        chosen = [Contender(name, "float32") for name in names]
        return measuring.measure({"plain20": config}, chosen, 1, 2, 0.1)

    def test_tables(self):
        speeds, facts = self.measure("stock Keras", "this repository")
        labels = ["stock Keras, float32", "this repository, float32"]
        assert list(speeds.contender) == 2 * labels and list(speeds["repeat"]) == [0, 0, 1, 1]
        assert (speeds.images_per_second > 0).all()
        assert list(facts.contender) == labels
        assert (facts.first_update_seconds > 0).all()
        assert facts.peak_bytes.between(2**26, 2**36).all()
        for column in ("evaluation_seconds", "checkpoint_seconds"):
            stock, ours = facts[column]
            assert np.isnan(stock) and ours > 0

    def test_a_process_that_dies(self, monkeypatch):
        monkeypatch.setattr(measuring, "_serve", os.kill)  # which takes other arguments
        message = refusal(self.measure, "constant batch", code=1)
        assert message == "benchmark: constant batch on plain20: its process ended with code 1"


# What is measured


@pytest.mark.parametrize(
    ("step", "maker"),
    [(contenders_of.stock_keras, "stock_network"), (contenders_of.constant_batch, "Learner")],
)
def test_a_contender_updates_every_weight(step, maker, synthetic, monkeypatch):
    make, made = getattr(contenders_of, maker), []
    monkeypatch.setattr(contenders_of, maker, lambda *given: made.append(make(*given)) or made[0])
    assert len(synthetic.train_labels) < 128  # a batch has the training set more than once
    config = compose("config", ["model=resnet20", "model.depth=8", "data=synthetic"])
    update = step(config, synthetic)
    model = getattr(made[0], "model", made[0])
    before = [variable.numpy() for variable in model.trainable_variables]
    update()
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != old), variable.path


class TestCommand:
    @pytest.fixture
    def start(self, tmp_path, monkeypatch, capsys):
        """Give a function that runs the command here, its speeds made up, into `tmp_path/out`.

        It gives the exit code, the lines printed, the errors, and what was to be measured.
        """
        asked = []

        def made_up(configs, chosen, threads, repeats, seconds):
            asked.append((configs, [c.label for c in chosen], threads, repeats, seconds))
            speeds = {c.label: [100.0 * (n + 1)] * repeats for n, c in enumerate(chosen)}
            return measured(**dict.fromkeys(configs, speeds))

        def call(*overrides: str) -> tuple[int, list[str], str, list]:
            out = f"benchmark.out={tmp_path / 'out'}"
            monkeypatch.setattr(sys, "argv", ["benchmark.py", out, *overrides])
            code = command("benchmark", benchmark.check, benchmark.start)
            printed, errors = capsys.readouterr()
            return code, printed.splitlines(), errors, asked

        monkeypatch.setattr(benchmark, "measure", made_up)
        monkeypatch.setattr(benchmark, "load_dataset", lambda **which: None)
        return call

    def test_what_is_printed_is_written(self, start, tmp_path):
        code, lines, errors, _ = start("runtime.precision=bfloat16", "benchmark.repeats=2")
        assert (code, errors) == (0, "")
        table = pd.read_csv(tmp_path / "out" / "benchmark.csv")
        assert list(table.contender) == 2 * [STOCK, "this repository, float32", OURS, BARE]
        assert list(table.network) == ["resnet20"] * 4 + ["resnet56"] * 4
        for column in ("cpu", "threads", "tensorflow", "git_commit", "git_dirty"):
            assert table[column].nunique(dropna=False) == 1
        assert set(table.repeats) == {2} and set(table.seconds) == {4}
        assert set(table.data) == {"cifar10"} and set(table.batch) == {128}
        assert (tmp_path / "out" / "benchmark.png").read_bytes().startswith(PNG)

        # Stock Keras at 100 images/s, ours at 300, the constant batch at 400.
        printed = [line.split() for line in lines if BARE in line]
        ratios = ["4.00×", "(4.00–4.00)", "0.75×", "(0.75–0.75)"]
        assert [words[-6:-2] for words in printed] == 2 * [ratios]
        hours = pd.read_csv(tmp_path / "out" / "hours.csv")
        assert list(hours.columns) == ["schedule", "figure", "hours", "paused_percent"]
        assert list(hours.schedule.unique()) == ["short", "medium", "paper"]
        heading = next(n for n, line in enumerate(lines) if line.split() == list(hours.columns))
        shown = lines[heading + 1 :][: len(hours)]
        for line, (*names, spent, paused) in zip(shown, hours.values, strict=True):
            assert line.split() == [*" ".join(names).split(), f"{spent:.1f}", f"{paused:.1f}"]

    def test_overrides_of_a_run_count(self, start, monkeypatch):
        monkeypatch.setattr(results, "draw", lambda *arguments: None)  # that takes longest
        _, _, _, [(configs, labels, threads, repeats, seconds)] = start(
            *("runtime.precision=float32", "runtime.threads=3", "optimizer.batch=64"),
            *("benchmark.networks=[plain20,resnet110]", "benchmark.seconds=0.5"),
        )
        assert labels == [STOCK, "this repository, float32", "constant batch, float32"]
        assert (threads, repeats, seconds) == (3, 5, 0.5)
        assert [config["model"]["name"] for config in configs.values()] == ["plain20", "resnet110"]
        assert {config["optimizer"]["batch"] for config in configs.values()} == {64}
