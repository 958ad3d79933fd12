"""Which run it is: what decides its result, and whether a folder holds that run or another."""

from omegaconf import DictConfig

from degradation.config import flatten, recorded, relative, show
from degradation.errors import UserError
from degradation.records import EARLIER, PROTOCOL, RunFolder

ELSEWHERE = "choose another run_dir, or overwrite=true"


def identity(config: DictConfig, precision: str) -> dict:
    """Everything that decides the result, but for `data.fingerprint`: one has to read the data.

    Two starts that differ in it are not one run.
    """
    settings = recorded(config)
    return {
        **flatten({group: settings[group] for group in ("model", "schedule", "optimizer")}),
        "seed": config.seed,
        "data.name": config.data.name,
        "data.holdout": config.data.holdout,
        "precision": precision,
    }


def check_same_run(
    folder: RunFolder,
    identity: dict,
    before: dict | None = None,
    instead: str = ELSEWHERE,
) -> None:
    """Raise `UserError`, exit code 2, if `folder` holds a run with another identity.

    `before` is the identity that is there; without it, it is put together from the folder's
    configuration and manifest. A folder without a run has none. `instead` is what the user can do.
    """
    if before is None:
        manifest = folder.manifest()
        if not manifest:
            return
        if manifest.get("protocol") != PROTOCOL:
            raise UserError(f"{relative(folder.path)} holds a run of {EARLIER}; {instead}")
        before = {
            **flatten(folder.config()),
            "data.fingerprint": manifest.get("dataset", {}).get("fingerprint"),
            "precision": manifest.get("precision"),
        }
    different = [
        f"{key} is {show(before.get(key))} there and {show(value)} here"
        for key, value in identity.items()
        if before.get(key) != value
    ]
    if different:
        raise UserError(
            f"{relative(folder.path)} holds another run, which is left as it is: "
            f"{'; '.join(different)}; {instead}"
        )
