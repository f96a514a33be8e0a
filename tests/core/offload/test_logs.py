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

"""Log lines, as a person and as a collector reads them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
import json
import logging

from hypothesis import given
from hypothesis import strategies as st
import pytest
from svlm_core.offload.logs import JsonFormatter, log_to_stderr, SparingFilter, TextFormatter


def record(event: str, *arguments: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("svlm_core.offload.front", logging.WARNING, __file__, 1, event, arguments, None)
    vars(made).update(fields)
    return made


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was before afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield root
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in before[0]:
        root.addHandler(handler)
    root.setLevel(before[1])


def test_a_line_for_people_names_its_fields() -> None:
    line = TextFormatter().format(record("refused %s", "a chunk", session="r1-front", epoch=2, seq=17))
    time, rest = line.split(" ", 1)
    assert datetime.fromisoformat(time.replace("Z", "+00:00")).year >= 2026
    assert rest == "WARNING refused a chunk session=r1-front epoch=2 seq=17"


def test_a_line_for_machines_is_json() -> None:
    line = json.loads(JsonFormatter().format(record("refused %s", "a chunk", session="r1-front", epoch=2)))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "svlm_core.offload.front",
        "event": "refused a chunk",
        "session": "r1-front",
        "epoch": 2,
    }


@given(st.text(), st.text())
def test_what_a_robot_chose_stays_on_its_line(event: str, camera: str) -> None:
    made = record("%s", event, camera=camera)
    for formatter in (TextFormatter(), JsonFormatter()):
        assert len(formatter.format(made).splitlines()) == 1
    assert json.loads(JsonFormatter().format(made))["camera"] == camera


def test_a_field_cannot_pass_for_another() -> None:
    line = TextFormatter().format(record("hello", camera='front key=admin"'))
    assert line.endswith('hello camera="front key=admin\\""')


def test_an_error_brings_its_traceback(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        log_to_stderr(as_json)
        try:
            raise RuntimeError("the device is gone")
        except RuntimeError:
            logging.getLogger("svlm_core.offload.worker").exception("stopped", extra={"device": "cuda:0"})
        lines = capsys.readouterr().err.splitlines()
        if as_json:
            assert len(lines) == 1
            assert "RuntimeError: the device is gone" in json.loads(lines[0])["error"]
        else:
            assert lines[0].endswith("ERROR   stopped device=cuda:0")
            assert lines[-1] == "    RuntimeError: the device is gone"


def test_the_level_is_kept(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(as_json=False, level="warning")
    logging.getLogger("svlm_core").info("chatter")
    logging.getLogger("svlm_core").warning("news")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["news"]


def test_a_flood_of_one_kind_of_line_leaves_room_for_the_others() -> None:
    sparing = SparingFilter(per_s=0.001, burst=3)
    passed = [number for number in range(1000) if sparing.filter(record("refused %s", number))]
    assert passed == [0, 1, 2]
    assert sparing.filter(record("ended"))


def test_the_next_line_says_how_many_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    sparing = SparingFilter(per_s=1.0, burst=1.0)
    assert [sparing.filter(record("refused")) for _ in range(5)] == [True, False, False, False, False]
    now_s[0] += 1.0
    line = record("refused")
    assert sparing.filter(line)
    assert TextFormatter().format(line).endswith("refused left_out=4")
