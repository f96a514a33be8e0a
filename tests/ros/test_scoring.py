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

"""Speech against truth."""

from __future__ import annotations

from svlm_ros.scoring import Scoreboard


def test_right_wrong_missed_and_invented_words_are_judged_and_silence_is_not() -> None:
    board = Scoreboard(["new red 3", None, "red stops", "red goes left", None, None])
    board.hear(0, "new red 3", 20.0)
    board.hear(2, "red goes", 10.0)
    board.hear(4, "blue stops", 30.0)
    verdicts = board.settle(6)
    assert [(v.second, v.said, v.truth, v.correct) for v in verdicts] == [
        (0, "new red 3", "new red 3", True),
        (2, "red goes", "red stops", False),
        (3, "", "red goes left", False),
        (4, "blue stops", "", False),
    ]
    assert (board.correct, board.accuracy) == (1, 0.25)
    assert board.latencies_ms == [10.0, 20.0, 30.0]


def test_seconds_are_settled_once_and_in_order() -> None:
    board = Scoreboard(["a", "b", "c"])
    board.hear(0, "a", 1.0)
    assert [v.second for v in board.settle(2)] == [0, 1]
    board.hear(1, "b", 1.0)  # too late: judged as missed already
    board.hear(2, " c ", 1.0)
    assert [(v.second, v.correct) for v in board.settle(9)] == [(2, True)]
    assert board.settle(9) == []
    assert board.accuracy == 2 / 3


def test_nothing_said_about_nothing_is_not_a_success() -> None:
    board = Scoreboard([None, None])
    assert board.settle(2) == []
    assert board.accuracy == 0.0
