"""A run's folder: write it, read it, lock it; and the machine that the run was made on."""

from degradation.records.checkpoints import Checkpoint
from degradation.records.files import replace_file, write_atomically
from degradation.records.machine import (
    cpu_precision,
    describe_machine,
    environment_switches,
    git_state,
    package_versions,
    utc_now,
)
from degradation.records.run_folder import EARLIER, METRIC_COLUMNS, PROTOCOL, RunFolder

__all__ = [
    "EARLIER",
    "METRIC_COLUMNS",
    "PROTOCOL",
    "Checkpoint",
    "RunFolder",
    "cpu_precision",
    "describe_machine",
    "environment_switches",
    "git_state",
    "package_versions",
    "replace_file",
    "utc_now",
    "write_atomically",
]
