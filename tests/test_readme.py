"""The README, taken at its word: its section on adding a network, the names and the targets."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import REPOSITORY, environment, make_tree, run

from degradation.config import options

TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands under a heading of the second level."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the repository with the network that the README adds, in the file it names."""
    tree = make_tree(tmp_path_factory.mktemp("readme") / "tree")
    (tree / "conf").unlink()
    shutil.copytree(REPOSITORY / "conf", tree / "conf")
    # The package finds conf/ beside itself: a copy of it, too.
    (tree / "src").unlink()
    shutil.copytree(REPOSITORY / "src", tree / "src")
    (file,) = re.findall(r"`(conf/model/\w+\.yaml)`:\n", section("Add a network"))
    (content,) = re.findall(r"```yaml\n(.*?)```", section("Add a network"), re.DOTALL)
    assert not (tree / file).exists()
    (tree / file).write_text(content, encoding="utf-8")
    return tree


def test_a_network_is_added_as_the_readme_says(tree):
    (line,) = re.findall(r"`\.venv/bin/python -m experiments\.(run .*?)`", section("Add a network"))
    command, *overrides = shlex.split(line)
    result = run(tree, command, *overrides, "schedule=smoke", "data=synthetic", "tracking=disabled")
    assert (result.returncode, result.stderr) == (0, "")
    assert "network   plain26" in result.stdout
    assert list((tree / "results").glob("runs/smoke/plain26*/seed0/model.keras"))


def test_the_network_that_was_added_builds(tree):
    (call,) = re.findall(r'`(build_model\("\w+"\))`', section("Add a network"))
    script = f"from degradation.models import build_model\nprint(len({call}.layers))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tree,
        env=environment(tree),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(result.stdout) > 26


def test_files_and_names_that_the_section_points_to_are_there():
    text = section("Add a network")
    for path in re.findall(r"`((?:conf|src)/[\w/.]+)`", text):
        assert (REPOSITORY / path).is_file() or path == "conf/model/plain26.yaml"
    networks = (REPOSITORY / "src/degradation/models/networks.py").read_text(encoding="utf-8")
    rules = (REPOSITORY / "src/degradation/model_rules.py").read_text(encoding="utf-8")
    assert "\nBUILDERS = " in networks and "\nSETTINGS: " in rules


def test_networks_that_the_table_of_relatives_names_exist():
    rows = [line for line in section("The relatives").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(named) > 15 and {"resnet1202", "vgg13skip"} <= named
    assert named <= set(options("model"))


def test_networks_and_figures_on_command_lines_exist():
    given = {group: set(re.findall(rf"\b{group}=([\w,]+)", TEXT)) for group in ("model", "figure")}
    for group, values in given.items():
        for name in (name for value in values for name in value.split(",")):
            assert name in {*options(group), "plain26", "NAME"}
    assert "plain56" in given["model"]


def test_targets_of_make_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE))
    mentioned = set(re.findall(r"(?:`|^)make ([a-z][\w-]*)", TEXT, re.MULTILINE))
    assert {"reproduce-figure1", "report", "test"} <= mentioned <= targets
