"""What a W&B run holds, read back from its own file."""

import json
from pathlib import Path


def of_kind(folder: Path, kind: str) -> list:
    """Return the records of a kind of the only W&B run in a run folder: a log as LevelDB has."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/*run-*/run-*.wandb")
    data, block, header = path.read_bytes(), 32768, 7
    place, parts, found = header, b"", []
    while place + header <= len(data):
        if block - place % block < header:
            place += block - place % block
            continue
        length, part = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if place + header + length > len(data):
            break  # still being written
        parts += data[place + header : place + header + length]
        place += header + length
        if part in (1, 4):  # whole, or the last part
            found.append(Record.FromString(parts))
            parts = b""
    return [getattr(r, kind) for r in found if r.WhichOneof("record_type") == kind]


def items(entries) -> dict:
    return {e.key or "/".join(e.nested_key): json.loads(e.value_json) for e in entries}


def tracked_rows(folder: Path) -> list[dict[str, float]]:
    """The rows as `wandb sync` would upload them, W&B's own columns left out."""
    histories = [items(record.item) for record in of_kind(folder, "history")]
    return [{k: v for k, v in found.items() if not k.startswith("_")} for found in histories]
