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

"""Alive and ready, over a clock that the tests move."""

from __future__ import annotations

import pytest
from svlm_core.offload.vitals import GONE_AFTER_S, LIVE_WITHIN_S, PROBE_EVERY_S, READY_WITHIN_S, Vitals


@pytest.fixture
def vitals() -> Vitals:
    vitals = Vitals(["cpu", "cuda:1"], 100.0)
    for device in ("cpu", "cuda:1"):
        vitals.worker_reported(device, 1.0, 100.0)
    return vitals


def test_workers_that_never_reported_are_not_ready() -> None:
    verdict = Vitals(["cuda:0"], 0.0).ready(1.0)
    assert not verdict.yes
    assert verdict.text == "the worker of cuda:0 has not decoded yet"


def test_a_worker_that_reports_but_never_decoded_is_not_ready(vitals: Vitals) -> None:
    vitals.worker_reported("cpu", None, 100.0)
    assert vitals.ready(100.5).text == "the worker of cpu has not decoded yet"


def test_ready_says_how_long_ago_the_last_token_was_decoded(vitals: Vitals) -> None:
    verdict = vitals.ready(101.5)
    assert verdict.yes
    assert verdict.text == "ready; the last token was decoded 2.5 s ago"


def test_a_lost_worker_is_not_ready_until_it_reports(vitals: Vitals) -> None:
    vitals.worker_lost("cpu")
    assert vitals.ready(100.5).text == "the worker of cpu has not decoded yet"
    vitals.worker_reported("cpu", 0.0, 101.0)
    assert vitals.ready(101.5).yes


def test_a_worker_that_reports_but_does_not_decode_is_not_ready(vitals: Vitals) -> None:
    now_s = 100.0 + READY_WITHIN_S + 1.0
    vitals.beat(now_s)
    vitals.worker_reported("cpu", 0.1, now_s)
    vitals.worker_reported("cuda:1", READY_WITHIN_S + 2.0, now_s)
    assert vitals.ready(now_s).text == "cuda:1 has not decoded for 32 s"
    assert vitals.live(now_s).yes


def test_a_worker_that_does_not_report_is_not_ready(vitals: Vitals) -> None:
    vitals.beat(100.0 + GONE_AFTER_S + 1.0)
    verdict = vitals.ready(100.0 + GONE_AFTER_S + 1.0)
    assert verdict.text == "the worker of cpu said nothing for 6 s"


def test_a_front_that_is_stuck_is_neither(vitals: Vitals) -> None:
    late_s = 100.0 + LIVE_WITHIN_S + 1.0
    assert vitals.live(late_s).text == vitals.ready(late_s).text == "the front has been stuck for 11 s"
    assert not vitals.live(late_s).yes
    vitals.beat(late_s)
    assert vitals.live(late_s).yes


def test_who_shuts_down_is_alive_but_takes_nothing_new(vitals: Vitals) -> None:
    vitals.beat(100.1, draining=True)
    assert vitals.live(100.2).yes
    assert vitals.ready(100.2).text == "shutting down"


def test_an_idle_worker_stays_ready_by_its_probes() -> None:
    assert PROBE_EVERY_S * 3 < READY_WITHIN_S
