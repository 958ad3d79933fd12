"""The package, installed without its checkout: `pip install .`."""

import subprocess
import sys

import pytest
from command_line import REPOSITORY, run_code

USE = """
import keras
from degradation.models import build_model
from degradation.report import load_runs
build_model("resnet20", depth=8).save("model.keras")
print(keras.models.load_model("model.keras").name, len(load_runs(".")))
"""


@pytest.mark.slow
def test_networks_are_built_and_loaded_and_runs_read_without_a_checkout(tmp_path):
    quiet = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(target)]
    source = tmp_path / "source"  # building leaves folders behind
    source.mkdir()
    tracked = subprocess.check_output(["git", "ls-files", "-z"], cwd=REPOSITORY, text=True)
    parts = ("src", "conf", "pyproject.toml", "README.md", "LICENSE")
    names = [n for n in tracked.split("\0") if n and n.partition("/")[0] in parts]
    copy = ["cp", "-P", "--parents", *names, str(source)]
    subprocess.run(copy, cwd=REPOSITORY, check=True)
    subprocess.run([*install, str(source)], check=True, stderr=subprocess.DEVNULL)
    assert len(list((target / "degradation" / "conf" / "model").glob("*.yaml"))) > 30

    work = tmp_path / "work"
    work.mkdir()
    ended = run_code(USE, target, folder=work)
    assert (ended.code, ended.out) == (0, "resnet20 0\n"), ended.err
