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

"""Beginnings are spaced out evenly."""

from __future__ import annotations

from svlm_core.chat.pace import Pace


def test_beginnings_are_spaced_out() -> None:
    now, waited = [10.0], []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds

    pace = Pace(4.0, sleep, lambda: now[0])
    for _ in range(4):
        pace.wait()
    assert waited == [0.25] * 3
    now[0] += 100
    pace.wait()
    assert len(waited) == 3, "no burst is saved up, and no wait without need"
