# Copyright 2026 svlm maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""What became of each item of a run: one JSON line each, kept as it comes, so that any run can go on later.

A shard writes files of its own; whoever comes last reads them all. The figures are computed from the records
in the order of their ids, so they do not depend on who did what when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
import json
import os
from pathlib import Path
import re
import threading
from typing import Any

from svlm_core.errors import ConfigError

Record = dict[str, Any]

AUTO = "auto"
EXCLUDED = "excluded"  # field of a record: why the item is not in the rate


@dataclass(frozen=True)
class Shard:
    """Which part of the work is done here.

    Attributes:
        number: from 1 to count.
        count: into how many parts the work is divided.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Shard:
        """Read I/N; "auto" takes the rank that torchrun, accelerate launch or SLURM have set.

        Raises:
            ConfigError: it is neither.
        """
        if text == AUTO:
            for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
                if rank in environment and world in environment:
                    return cls.parse(f"{int(environment[rank]) + 1}/{environment[world]}")
            raise ConfigError(
                "--shard auto: neither RANK and WORLD_SIZE nor SLURM_PROCID and SLURM_NTASKS are set"
            )
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ConfigError(f"--shard {text!r}: must be I/N with I from 1 to N, for example 2/8")
        return cls(int(match[1]), int(match[2]))

    def mine(self, keys: Iterable[str]) -> list[str]:
        """The keys that belong here, sorted; each key belongs to one shard exactly."""
        return sorted(set(keys))[self.number - 1 :: self.count]


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Number of this process among those that a launcher started on this machine; 0 without one."""
    return int(environment.get("LOCAL_RANK") or environment.get("SLURM_LOCALID") or 0)


class Records:
    """The records of one stage of a run, in one folder. Threads may append."""

    def __init__(self, folder: Path, stage: str, shard: Shard) -> None:
        """Find what is there already.

        Raises:
            ConfigError: the folder cannot be read or written.
        """
        self._folder, self._stage = folder, stage
        self._path = folder / f"{stage}-{shard.number}-of-{shard.count}.jsonl"
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _drop_torn_line(self._path)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be written ({error.strerror})") from error

    def read(self) -> dict[str, Record]:
        """All shards' records by id, sorted; of several of one item the last of the last file counts."""
        records = {}
        for path in sorted(self._folder.glob(f"{self._stage}-*-of-*.jsonl")):
            try:
                lines = path.read_bytes().split(b"\n")
            except OSError as error:
                raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
            for line in lines[:-1]:  # what follows the last newline was torn off, or is being written
                try:
                    record = json.loads(line)
                    records[record["id"]] = record
                except (ValueError, KeyError, TypeError) as error:
                    raise ConfigError(f"{path}: not a record: {line[:60]!r}") from error
        return dict(sorted(records.items()))

    def forget_excluded(self) -> None:
        """Drop this shard's records of excluded items, so that these are done again; see `forget`."""
        self.forget(lambda record: EXCLUDED in record)

    def forget(self, which: Callable[[Record], bool]) -> None:
        """Drop some of this shard's records.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            if not self._path.exists():
                return
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            part = self._path.with_suffix(".part")
            part.write_text("".join(line for line in lines if not which(json.loads(line))), encoding="utf-8")
            os.replace(part, self._path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self._path}: cannot be written anew ({error})") from error

    def append(self, record: Record) -> None:
        """Keep a record; it is on the disk when this returns.

        Raises:
            ConfigError: it cannot be written.
        """
        line = json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n"
        try:
            with self._lock, self._path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be written ({error.strerror})") from error


def _drop_torn_line(path: Path) -> None:
    """Cut off what a power cut left of a line; the item is done again."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
