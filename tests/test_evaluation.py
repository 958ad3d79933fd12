"""`python -m experiments.evaluate`: networks unlike the usual ones, and data that have moved."""

import re
import shutil
from functools import partial

import numpy as np
import pytest
from cifar10_files import NOWHERE, SIZE, write_binary
from command_line import Ended, make_tree
from processes import QUICK, SMALL, SYNTHETIC, run
from sabotage import set_environment, shrink_cifar10

NARROW = ("model.widths=[4,8]", "model.depths=[1,1]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a network of 100 classes; give the tree and the folder of its run in it."""
    tree = make_tree(tmp_path_factory.mktemp("evaluation") / "tree")
    run("model=resnet18", "model.classes=100", *NARROW, *QUICK, *SYNTHETIC, tree=tree).output()
    (folder,) = (tree / "results" / "runs" / "smoke").glob("*/seed0")
    return tree, folder


def evaluate_changed(trained, tmp_path, before: str, after: str):
    """Evaluate a copy of the run whose configuration has `after` in place of `before`."""
    tree, folder = trained
    copy = shutil.copytree(folder, tmp_path / "run")
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace(before, after))
    return run(f"run_dir={copy}", name="evaluate", tree=tree)


def test_network_of_more_classes_than_the_data(trained):
    tree, folder = trained
    told = run(f"run_dir={folder}", name="evaluate", tree=tree).output()
    assert "30 images" in told and "warning" not in told
    elsewhere = run(f"run_dir={folder}", "data.dir=elsewhere", name="evaluate", tree=tree)
    assert elsewhere.error().endswith("allowed: null, for a run on synthetic data")


def test_network_of_other_classes_than_its_configuration_has_is_refused(trained, tmp_path):
    result = evaluate_changed(trained, tmp_path, "classes: 100", "classes: 10")
    assert "it goes from (32, 32, 3) to (100,), not (32, 32, 3) to (10,)" in result.error()


def test_the_mean_image_is_the_runs_own(trained, tmp_path):
    tree, folder = trained
    copy = shutil.copytree(folder, tmp_path / "run")
    told = [run(f"run_dir={copy}", name="evaluate", tree=tree).output()]
    np.save(copy / "mean.npy", np.load(copy / "mean.npy") + 100)
    told.append(run(f"run_dir={copy}", name="evaluate", tree=tree).output())
    losses = [re.search(r"^loss .*", text, re.MULTILINE)[0] for text in told]
    assert losses[0] != losses[1]


def test_a_class_without_images_has_no_error(trained, tmp_path):
    told = evaluate_changed(trained, tmp_path, "holdout: 0", "holdout: 5").output()
    classes = [line for line in told.splitlines() if line.startswith("  pattern")]
    assert len(classes) == 10 and sum("no images" in line for line in classes) >= 5


def test_data_are_looked_for_where_they_are_now(tmp_path, parts):
    """Not where the run found them, which its record does not say."""
    before = write_binary(tmp_path / "before" / "cifar-10-batches-bin", parts)
    shrink = partial(shrink_cifar10, SIZE)
    places = [f"data.dir={before}", f"data.url={NOWHERE}", "data.search=[]"]
    folder = f"run_dir={tmp_path / 'run'}"
    assert run(*SMALL, *places, folder, faults=[shrink]).code == 0
    now = before.parent.rename(tmp_path / "now")

    def evaluate(*overrides: str, cifar10_dir: str) -> Ended:
        faults = [shrink, partial(set_environment, CIFAR10_DIR=cifar10_dir)]
        return run(folder, *overrides, name="evaluate", faults=faults)

    told = evaluate(cifar10_dir=str(now)).output()
    given = evaluate(f"data.dir={now}", cifar10_dir=str(tmp_path / "elsewhere")).output()
    assert told == given
    assert f": {SIZE} images" in told and "warning" not in told
    victim = now / before.name / "data_batch_3.bin"
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    ended = evaluate(cifar10_dir=str(now))
    assert "warning: these are not the data that the run was trained on\n" in ended.err
