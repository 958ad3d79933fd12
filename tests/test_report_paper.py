"""The paper's own numbers: Table 6 and the digitised Figure 6."""

import pandas as pd
import pytest
from ended_runs import PAPER

from degradation.report.paper import NETWORKS, curve, final_error


@pytest.mark.parametrize("model", PAPER)
def test_final_errors_are_those_of_table_6_or_the_ends_of_figure_6(model):
    error, source = final_error(model)
    assert error == PAPER[model][1]
    place = "Table 6" if model.startswith("resnet") else "Figure 6 (digitised)"
    assert source == f"He et al. 2015, {place}"


def test_110_layers_have_the_mean_of_the_papers_five_runs():
    error, source = final_error("resnet110")
    assert error == 6.61 and "6.43" in source


def test_1202_layers_are_in_table_6_alone():
    assert final_error("resnet1202") == (7.93, "He et al. 2015, Table 6")
    assert curve("resnet1202", "test_error") is None


@pytest.mark.parametrize("model", ["plain110", "vgg16", "plain26", "nonsense"])
def test_what_the_paper_does_not_report_is_none(model):
    assert final_error(model) is None
    assert curve(model, "test_error") is None


def test_a_curve_is_in_percent_by_iteration():
    test = curve("plain20", "test_error")
    assert isinstance(test, pd.Series)
    assert test.index.name == "iteration" and test.index.is_monotonic_increasing
    assert test.index.is_unique and test.index[-1] == 64_000
    assert test.loc[64_000] == 9.69 and test.max() < 21
    train = curve("plain20", "train_error")
    assert train.loc[64_000] == 1.44
    assert curve("plain20", "val_error") is None


def test_curves_of_residual_networks_end_where_table_6_says():
    """Digitised to about 0.05 points; the table has single runs for all but 110 layers."""
    for model in ("resnet20", "resnet32", "resnet44", "resnet56"):
        assert curve(model, "test_error").iloc[-1] == pytest.approx(final_error(model)[0], abs=0.05)


def test_a_curve_is_the_callers_own():
    mine = curve("resnet20", "test_error")
    mine.loc[64_000] = 0
    assert curve("resnet20", "test_error").iloc[-1] == 8.78


def test_every_network_of_section_4_2_has_its_name():
    assert len(NETWORKS) == 11
    assert NETWORKS["plain56"] == "plain-56" and NETWORKS["resnet110"] == "ResNet-110"
