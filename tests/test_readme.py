"""README and docs, taken at their word: how a network is added, the names and the targets."""

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
from command_line import REPOSITORY, make_tree
from processes import QUICK, SYNTHETIC, run

from degradation.config import options

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
ADDING = (REPOSITORY / "docs" / "adding.md").read_text(encoding="utf-8")
TEXT = "\n".join([README, *(p.read_text() for p in (REPOSITORY / "docs").glob("*.md"))])
SMALL = (*QUICK, *SYNTHETIC)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the repository with the network that the README adds, in the file it names."""
    tree = make_tree(tmp_path_factory.mktemp("readme") / "tree")
    (tree / "conf").unlink()
    shutil.copytree(REPOSITORY / "conf", tree / "conf")
    # The package finds conf/ beside itself: a copy of it, too.
    (tree / "src").unlink()
    shutil.copytree(REPOSITORY / "src", tree / "src")
    (file,) = re.findall(r"`(conf/model/\w+\.yaml)`:\n", ADDING)
    (content,) = re.findall(r"```yaml\n(.*?)```", ADDING, re.DOTALL)
    (tree / file).write_text(content, encoding="utf-8")
    add_family(tree)
    return tree


def add_family(tree: Path) -> None:
    """Add the family that the page shows: its function, its name and keys, its file."""
    (tree / "conf/model/mine16.yaml").write_text("name: mine16\nbuilder: mine\nfilters: 16\n")
    schema = tree / "src/degradation/schema.py"
    keys = 'class Mine(Network):\n    builder: Literal["mine"]\n    filters: PositiveInt\n\n\n'
    entry = 'NETWORKS = {"mine": Mine, '
    schema.write_text(schema.read_text().replace("NETWORKS = {", keys + entry))
    (function,) = re.findall(r"```python\n(.*?)```", ADDING, re.DOTALL)
    (tree / "src/degradation/models/mine.py").write_text(function)
    networks = tree / "src/degradation/models/networks.py"
    named = networks.read_text().replace("BUILDERS = {", 'BUILDERS = {"mine": mine, ')
    networks.write_text(f"from degradation.models.mine import mine\n{named}")


def test_a_network_is_added_as_the_readme_says(tree):
    (line,) = re.findall(r"`\.venv/bin/python -m experiments\.(run .*?)`", ADDING)
    command, *overrides = shlex.split(line)
    assert "network   plain26" in run(*overrides, *SMALL, name=command, tree=tree).output()
    assert list((tree / "results").glob("runs/smoke/plain26*/seed0/model.keras"))


def test_a_family_is_added_as_the_readme_says(tree):
    told = run("model=mine16", "model.filters=6", *SMALL, tree=tree).output()
    # 3·3·3 weights a filter, its gamma and beta; ten times as many weights as filters, ten biases
    assert "network   mine16, 244 trainable parameters" in told
    result = run("model=mine16", "model.filters=0", *SMALL, tree=tree)
    assert result.error() == "error: model.filters=0: allowed: greater than 0"


def test_files_and_names_that_the_section_points_to_are_there():
    for path in re.findall(r"`((?:conf|src)/[\w/.]+)`", ADDING):
        placeholder = path.endswith(("/NAME.yaml", "/plain26.yaml", "/mine16.yaml", "/mine.py"))
        assert (REPOSITORY / path).exists() or placeholder
    named = dict(re.findall(r"`(\w+)` in\s+`src/([\w/]+)\.py`", ADDING))
    tables = {"BUILDERS", "NETWORKS", "BLOCKS", "BLOCK_LAYERS", "INITIALIZERS", "INTERVENTIONS"}
    assert named.keys() == tables | {"load_dataset", "DATA", "SGD", "Learner", "Optimizer"}
    for name, module in named.items():
        assert getattr(importlib.import_module(module.replace("/", ".")), name)


def test_networks_that_the_table_of_other_networks_names_exist():
    rows = [line for line in ADDING.splitlines() if line.startswith("| `")]
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


def test_links_lead_to_files():
    for page in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), (page.name, link)
