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

from __future__ import annotations

import os
from pathlib import Path
import signal
import subprocess
import sys

import pytest
from svlm_core.errors import ConfigError
from svlm_core.offload import wire
from svlm_core.offload.journal import Journal
from svlm_core.offload.record import Record
from svlm_core.offload.serving import default_journal

RESULT = wire.Result(3, 7, "wörds", [1, 2], 3, 4, 5, "end", {"decode": 1.5}, 6.0)

WRITER = """
import sys
from pathlib import Path
from svlm_core.offload.journal import Journal
from svlm_core.offload.record import Record
journal = Journal(Path(sys.argv[1]))
for number in range(1_000_000):
    journal.save(Record("s", "key", 1, number, f"said {number}", None), 0.0)
    print(number, flush=True)
"""


def record(name: str, **fields: object) -> Record:
    values = {"user": "key", "epoch": 3, "last": 7, "said": "once", "result": RESULT, **fields}
    return Record(name, **values)  # type: ignore[arg-type]


def test_a_record_comes_back_whole(tmp_path: Path) -> None:
    file = tmp_path / "a" / "journal"
    with Journal(file) as journal:
        journal.save(record("s"), 1.0)
        journal.save(record("t", said=None, result=None), 2.0)
        journal.save(record("s", last=8), 3.0)
        assert len(journal) == 2
    with Journal(file) as journal:
        assert journal.recall("s") == record("s", last=8)
        assert journal.recall("t") == record("t", said=None, result=None)
        assert journal.recall("u") is None
        journal.forget("s")
        assert journal.recall("s") is None
    assert file.stat().st_mode & 0o077 == 0


def test_old_records_expire_and_the_file_stays_small(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        for number in range(10):
            journal.save(record(f"s{number}"), float(number))
        assert journal.expire(before_s=3.0) == 3
        assert journal.expire(before_s=0.0, most=5) == 2
        assert [n for n in range(10) if journal.recall(f"s{n}")] == [5, 6, 7, 8, 9]


def test_two_servers_do_not_share_one(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal"), pytest.raises(ConfigError, match="another svlm serve has it"):
        Journal(tmp_path / "journal")


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and longer than a header of one would be. " * 20)
    with pytest.raises(ConfigError, match="--journal .*text: cannot be used"):
        Journal(tmp_path / "text")
    with pytest.raises(ConfigError, match="--journal"):
        Journal(tmp_path)


def test_a_kill_in_the_middle_of_writing_loses_nothing_that_was_written(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "journal")], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(200)]
    os.kill(writer.pid, signal.SIGKILL)
    last = int([*lines, *writer.stdout.readlines()][-1])
    writer.wait()
    with Journal(tmp_path / "journal") as journal:
        found = journal.recall("s")
    assert found is not None and found.last in (last, last + 1)  # the next may not have been printed yet
    assert found.said == f"said {found.last}"


@pytest.mark.parametrize(
    ("bind", "name"),
    [
        ("tcp://127.0.0.1:5577", "tcp-127.0.0.1-5577.journal"),
        ("tcp://*:5577", "tcp-any-5577.journal"),
        ("tcp://127.0.0.1:*", None),
        ("tcp://127.0.0.1:0", None),
    ],
)
def test_a_server_finds_its_journal_by_its_endpoint(
    bind: str, name: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_journal(bind) == (None if name is None else tmp_path / "svlm" / name)
