"""What has no other place to go: messages that cannot be scored, scores that cannot be written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from vaelocity.stream.message import Message
from vaelocity.stream.pipe import PipeSink

__all__ = ["Rejects"]


class Rejects:
    """FOLDER/<number>.bin holds a message, a line of FOLDER/rejects.jsonl says where it came from
    and what is wrong with it. Both are on the disk before the message counts as dealt with.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def save(self, message: Message) -> Path:
        """Keep one message; the folder is made for the first. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._write(message.raw)
        entry = {"file": path.name, "where": message.where, "error": message.error}
        with (self.folder / "rejects.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")
            log.flush()
            os.fsync(log.fileno())
        return path

    def save_unsent(self, batches: Iterable[pa.RecordBatch]) -> tuple[Path, int]:
        """Keep scores that the sink did not take, as an Arrow IPC stream: its path, and its rows.

        Raises OSError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = self.folder / f"unsent-{stamp}-{os.getpid()}.arrows"
        rows = 0
        with path.open("wb") as file:
            sink = PipeSink(file.fileno(), str(path))
            for batch in batches:
                sink.write(batch)
                rows += batch.num_rows
            sink.close(complete=True)
            os.fsync(file.fileno())
        return path, rows

    def _write(self, raw: bytes) -> Path:
        number = sum(1 for _ in self.folder.glob("*.bin"))
        while True:
            path = self.folder / f"{number:06}.bin"
            try:
                with path.open("xb") as file:
                    file.write(raw)
                    file.flush()
                    os.fsync(file.fileno())
                return path
            except FileExistsError:  # another process sets messages aside here, too
                number += 1
