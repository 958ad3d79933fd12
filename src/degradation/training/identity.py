"""Whether a folder holds the run that is to be trained there, or another one."""

from degradation.config import shown
from degradation.errors import UserError
from degradation.records.run_folder import EARLIER, PROTOCOL, RunFolder
from degradation.setting import Setting

ELSEWHERE = "choose another run_dir, or overwrite=true"


def check_same_run(
    folder: RunFolder, setting: Setting, fingerprint: str | None = None, remedy: str = ELSEWHERE
) -> None:
    """Raise `UserError`, exit code 2, if `folder` holds a run of another setting, or other data.

    `fingerprint` is that of the data; without it data are not compared, as one has to read them.
    `remedy` is what the user can do, unless the data alone differ. A folder without a run holds no
    other.
    """
    manifest = folder.manifest()
    if not manifest and not (folder.path / "checkpoint").is_dir():
        return
    if manifest and manifest.get("protocol") != PROTOCOL:
        raise UserError(f"{shown(folder.path)} holds a run of {EARLIER}; {remedy}")
    config = folder.config()
    try:
        different = setting.differences(Setting.of(config))
    except UserError as error:
        raise UserError(
            f"{shown(folder.path)}: its config.yaml is not of this version: {error}; {remedy}"
        ) from error
    there = manifest.get("dataset", {}).get("fingerprint")
    if manifest and fingerprint not in (None, there):
        different.append(f"data.fingerprint is {there} there and {fingerprint} here")
        if len(different) == 1:
            remedy = (
                "set CIFAR10_DIR, or the data.dir that was given, to the data that it began on, or "
                "move its folder elsewhere"
            )
    if different:
        raise UserError(
            f"{shown(folder.path)} holds another run, which is left as it is: "
            f"{'; '.join(different)}; {remedy}"
        )
