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

"""What the server's sessions have said, on disk: read after a restart, and only then."""

from __future__ import annotations

from pathlib import Path
import sqlite3
from types import TracebackType

import msgspec
from svlm_core.errors import ConfigError
from svlm_core.offload import wire
from svlm_core.offload.record import Record

SCHEMA = 1
MAX_RECORDS = 10_000  # a robot that begins a new session each second must not fill the disk
_TABLE = """CREATE TABLE IF NOT EXISTS session (
    name TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    last INTEGER NOT NULL,
    said TEXT,
    result BLOB,
    written_s REAL NOT NULL
) WITHOUT ROWID"""


class Journal:
    """One row for each session; a context manager.

    A row is whole after every `save`, even if the process is killed in the middle of it: sqlite's write-ahead
    log. A cut of the machine's power may cost the last rows (`synchronous=NORMAL`), never the file.
    """

    def __init__(self, file: Path | None) -> None:
        """Open or begin a journal that no other process may use meanwhile.

        Args:
            file: where; None keeps it in memory.

        Raises:
            ConfigError: another server has it, or it cannot be written, or is not a journal.
        """
        where = ":memory:" if file is None else str(file)
        try:
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                file.touch(mode=0o600)  # what cameras saw, in words
            self._database = sqlite3.connect(where, timeout=0.0, isolation_level=None)
            self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            (schema,) = self._database.execute("PRAGMA user_version").fetchone()
            if schema not in (0, SCHEMA):
                raise ConfigError(
                    f"--journal {where}: of another version of svlm (schema {schema}); move it away"
                )
            self._database.execute(f"PRAGMA user_version={SCHEMA}")
            self._database.execute(_TABLE)
        except sqlite3.OperationalError as error:
            hint = "another svlm serve has it; " if "locked" in str(error) else ""
            raise ConfigError(f"--journal {where}: {hint}name another file ({error})") from None
        except (sqlite3.DatabaseError, OSError) as error:
            raise ConfigError(f"--journal {where}: cannot be used, name another file ({error})") from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM session").fetchone()
        return int(count)

    def save(self, record: Record, now_s: float) -> None:
        """Write a record, in place of the session's earlier one.

        Args:
            record: what to write.
            now_s: time since the epoch of the system's clock.
        """
        result = None if record.result is None else msgspec.msgpack.encode(record.result)
        row = (record.name, record.user, record.epoch, record.last, record.said, result, now_s)
        self._database.execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def recall(self, name: str) -> Record | None:
        """The record of a session, if there is one."""
        row = self._database.execute(
            "SELECT user, epoch, last, said, result FROM session WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return None
        user, epoch, last, said, result = row
        decoded = None if result is None else msgspec.msgpack.decode(result, type=wire.Result)
        return Record(name, user, epoch, last, said, decoded)

    def forget(self, name: str) -> None:
        """Delete a session's record."""
        self._database.execute("DELETE FROM session WHERE name = ?", (name,))

    def expire(self, before_s: float, most: int = MAX_RECORDS) -> int:
        """Delete what was written before a time, and the oldest above `most`; returns how many."""
        old = self._database.execute("DELETE FROM session WHERE written_s < ?", (before_s,)).rowcount
        excess = max(0, len(self) - most)
        oldest = "SELECT name FROM session ORDER BY written_s LIMIT ?"
        self._database.execute(f"DELETE FROM session WHERE name IN ({oldest})", (excess,))
        return old + excess

    def close(self) -> None:
        """Close the file."""
        self._database.close()
