"""What makes two runs the same run: everything in their folders but the times.

`python tests/same_run.py COMMIT` trains the first 400 iterations of plain-20 and ResNet-56 here and
at that commit, and names what differs. It takes four minutes on two idle cores.
"""

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

from degradation.records.run_folder import RunFolder

TIMING = ("images_per_second", "wall_seconds")
# The meter's part of a checkpoint that is about time.
_TIMED = {"rows", "row_seconds", "row_timed", "train_seconds", "train_timed", "wall_before"}


def untimed(rows: list[dict]) -> list[dict]:
    """Return rows of metrics.csv without the timing columns."""
    return [{key: value for key, value in row.items() if key not in TIMING} for row in rows]


def differences(one: RunFolder, other: RunFolder) -> list[str]:
    """Name what differs between two finished runs, compared bit for bit.

    That is metrics.csv, the results in the manifest, the weights in model.keras, and the last
    checkpoint: weights, moving averages, the optimiser's variables, sums and counts.
    """
    found = [] if untimed(one.rows()) == untimed(other.rows()) else ["metrics.csv"]
    ours, theirs = one.manifest(), other.manifest()
    found += [key for key in ("status", "final", "best") if ours[key] != theirs[key]]
    found += _different(
        "model.keras", *(_weights(run.path / "model.keras") for run in (one, other))
    )
    ours, theirs = one.load_checkpoint(), other.load_checkpoint()
    found += _different("checkpoint", ours.arrays, theirs.arrays)
    found += [] if _counts(ours.state) == _counts(theirs.state) else ["the checkpoint's state"]
    return found


def _different(where: str, ours: dict, theirs: dict) -> list[str]:
    if ours.keys() != theirs.keys():
        return [f"the names in {where}"]
    return [
        f"{where}: {name}"
        for name, array in ours.items()
        if array.dtype != theirs[name].dtype or array.tobytes() != theirs[name].tobytes()
    ]


def _weights(path) -> dict[str, np.ndarray]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as file:
        file.visititems(
            lambda name, item: arrays.update({name: item[()]}) if hasattr(item, "shape") else None
        )
    return arrays


def _counts(state: dict) -> dict:
    meter = {key: value for key, value in state["meter"].items() if key not in _TIMED}
    return {"rate": state["rate"], "meter": meter, "rows": untimed(state["meter"]["rows"])}


def main(commit: str) -> int:
    """Compare this checkout with `commit`; 0 if the runs are the same to the last bit."""
    here = Path(__file__).resolve().parents[1]
    code = 0
    with tempfile.TemporaryDirectory() as scratch:
        there = Path(scratch, "there")
        git = ["git", "-C", str(here), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(there), commit], check=True)
        try:
            for model in ("plain20", "resnet56"):
                runs = [_train(root, model, here, Path(scratch)) for root in (here, there)]
                found = differences(*runs)
                print(f"{model}: {', '.join(found) or 'the same to the last bit'}", flush=True)
                code |= bool(found)
        finally:
            subprocess.run([*git, "remove", "--force", str(there)], check=True)
    return code


def _train(root: Path, model: str, here: Path, scratch: Path) -> RunFolder:
    """Train with the code in `root`, on the data that a run in `here` would find."""
    folder = RunFolder(scratch / f"{model}-{'here' if root == here else 'there'}")
    about = ["schedule.iterations=400", "schedule.drops=[200]", "schedule.evaluate_every=200"]
    search = f"data.search=[{here / 'data/cifar10'},{here.parent / 'shared/cifar10'}]"
    subprocess.run(
        [sys.executable, "-m", "experiments.run", f"model={model}", *about, search]
        + ["tracking=disabled", f"run_dir={folder.path}"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root / "src")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return folder


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
