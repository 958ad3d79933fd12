"""The table of networks: its rows and their order."""

import sys
from types import SimpleNamespace

from processes import run

from degradation.config import options
from experiments import models
from experiments.command import command


def test_table_of_chosen_networks_in_their_order(tree):
    told = run("models=[vgg13,resnet20,plain32]", name="models", tree=tree).output()
    assert told.splitlines() == [
        "network   layers  parameters  multiply-adds",
        "vgg13         11   9,413,066    228,267,008",
        "resnet20      20     269,722     40,551,040",
        "plain32       32     464,154     68,862,592",
    ]
    assert not (tree / "results").exists()


def test_every_network_is_listed_by_family_and_depth(monkeypatch, capsys):
    """Counted as 7 layers, 1,234 parameters and so on."""
    size = SimpleNamespace(layers=7, parameters=1_234, multiply_adds=5_000_000)
    counted = SimpleNamespace(build_model=str, summarize=lambda model: size)
    monkeypatch.setattr(models, "import_quietly", lambda module: counted)
    monkeypatch.setattr(sys, "argv", ["models.py"])
    assert command("models", models.check, models.start) == 0
    out, err = capsys.readouterr()
    heading, *rows = out.splitlines()
    assert err == ""
    names = [row.split()[0] for row in rows]
    assert sorted(names) == options("model")
    assert names.index("plain20") < names.index("plain56") < names.index("plain110")
    assert {len(row) for row in rows} == {len(heading)}
    assert {tuple(row.split()[1:]) for row in rows} == {("7", "1,234", "5,000,000")}
