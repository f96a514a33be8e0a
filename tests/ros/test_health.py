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

"""What is measured, and from when on."""

from __future__ import annotations

import pytest
from svlm_core.frames import FrameLedger
from svlm_ros.health import Health


def test_nothing_is_measured_at_first() -> None:
    snapshot = Health(FrameLedger()).snapshot()
    assert snapshot.frames_in == snapshot.chunks == 0
    assert snapshot.age_s_p50 is snapshot.chunk_ms_p95 is snapshot.callback_ms_p99 is None
    assert (snapshot.busy_s, snapshot.last_error) == (0.0, "")


def test_percentiles_and_no_negative_ages() -> None:
    health = Health(FrameLedger())
    for age_s in (0.1, 0.3, 0.2):
        health.chunk_understood(latency_s=0.05, age_s=age_s)
    snapshot = health.snapshot()
    assert snapshot.age_s_p50 == pytest.approx(0.2)
    assert snapshot.chunk_ms_p95 == pytest.approx(50.0)
    assert snapshot.came_old_s == pytest.approx(0.15)
    health.chunk_understood(latency_s=0.05, age_s=-2.0)
    snapshot = health.snapshot()
    assert snapshot.age_s_p50 is not None and snapshot.age_s_p50 >= 0.0
    assert (snapshot.ahead_s, snapshot.came_old_s) == (2.0, 0.0)
    health.forget_ages()
    assert (health.snapshot().age_s_p50, health.snapshot().ahead_s) == (None, 0.0)


def test_frames_and_their_rates() -> None:
    ledger = FrameLedger()
    health = Health(ledger)
    health.snapshot()
    for _ in range(10):
        ledger.receive()
    ledger.use(2)
    ledger.drop("rate", 7)
    snapshot = health.snapshot()
    assert (snapshot.frames_in, snapshot.frames_used, snapshot.frames_pending) == (10, 2, 1)
    assert snapshot.frames_dropped == {"rate": 7}
    assert snapshot.in_hz > 0 and snapshot.dropped_hz["rate"] == pytest.approx(0.7 * snapshot.in_hz)


def test_a_chunk_in_work_and_the_last_error() -> None:
    health = Health(FrameLedger())
    health.chunk_begins()
    assert health.snapshot().busy_s > 0
    health.chunk_ends()
    health.failed("first")
    health.failed("second")
    snapshot = health.snapshot()
    assert (snapshot.busy_s, snapshot.last_error) == (0.0, "second")
    assert snapshot.since_error_s >= 0
