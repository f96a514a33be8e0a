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

"""Rates with intervals and curves: against the plain score, and by hand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from svlm_core.evaluation.rates import curve, part_of_a_curve_s, rates
from svlm_core.evaluation.score import Judged, score, Tally

RIGHT, WRONG = (
    Judged("red stops", "red stops", "stops", "motion", None),
    Judged("", "x y", "goes", "motion", None),
)
QUIET, NOISY = Judged("", "", "silence", "silence", None), Judged("x", "", "silence", "silence", None)
KNOWN, LOST = (
    Judged("back 1", "back 1", "back", "memory", 40),
    Judged("back 2", "back 1", "back", "memory", 700),
)
ALL = (RIGHT, WRONG, QUIET, NOISY, KNOWN, LOST)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(ALL), min_size=1, max_size=30))
def test_the_means_are_those_of_the_score(seconds: list[Judged]) -> None:
    tally = Tally.of(seconds)
    found, plain = rates(tally, np.arange(len(tally)), seed=0), score(tally)
    for name in ("event_accuracy", "silence_precision", "silence_recall"):
        assert found[name]["mean"] == pytest.approx(plain[name], abs=1e-4)
    assert found["event_accuracy"]["n"] == plain["n_events"]
    assert found["silence_precision"]["n"] == sum(not second.said for second in seconds)
    kinds = {kind: rate["mean"] for kind, rate in found["accuracy_by_kind"].items()}
    assert kinds == pytest.approx(plain["accuracy_by_kind"], abs=1e-4)
    for age, rate in found["memory_by_age"].items():
        assert rate["mean"] == pytest.approx(plain["memory_by_age"][age]["accuracy"], abs=1e-4)
        assert rate["n"] == plain["memory_by_age"][age]["n"]
    quarters = [rate["mean"] for rate in found["accuracy_by_quarter"].values()]
    assert quarters == pytest.approx(plain["accuracy_by_quarter"], abs=1e-4)


def test_parts_of_300_s_are_resampled_and_a_short_stream_by_the_second() -> None:
    tally = Tally.of([RIGHT] * 300 + [WRONG] * 300)
    found = rates(tally, np.arange(600), seed=0)["event_accuracy"]
    # two parts, all right and all wrong: a quarter of the resamples has only the one, a quarter the other
    assert (found["mean"], found["low"], found["high"], found["n"]) == (0.5, 0.0, 1.0, 600)
    assert found["resampled"] == "parts of 300 s"
    short = rates(Tally.of([RIGHT] * 3 + [WRONG]), np.arange(4), seed=0)["event_accuracy"]
    assert short["resampled"] == "judgements" and short["low"] < 0.75 < short["high"]


def test_hours_are_those_of_the_clock_also_where_it_jumps() -> None:
    tally = Tally.of([RIGHT, WRONG, KNOWN, LOST])
    found = rates(tally, np.array([0, 3599, 3600, 10**9]), seed=0)
    hours = {hour: (rate["mean"], rate["n"]) for hour, rate in found["accuracy_by_hour"].items()}
    assert hours == {"1": (0.5, 2), "2": (1.0, 1), str(10**9 // 3600 + 1): (0.0, 1)}
    assert [rate["n"] for rate in found["memory_by_hour"].values()] == [0, 1, 1]
    assert "accuracy_by_hour" not in rates(tally, np.arange(4), seed=0)


def test_a_curve_by_hand() -> None:
    tally = Tally.of([RIGHT, QUIET, NOISY, KNOWN, LOST, QUIET])
    assert curve(tally, np.array([0, 9, 10, 11, 19, 40]), 10) == [
        {"from_s": 0, "events": 1.0, "memory": None, "silence": 1.0},
        {"from_s": 10, "events": 0.5, "memory": 0.5, "silence": 0.0},
        {"from_s": 40, "events": None, "memory": None, "silence": 1.0},
    ]
    assert curve(Tally(), np.arange(0), 10) == []


@pytest.mark.parametrize(
    ("length_s", "part_s"), [(1, 10), (480, 10), (7200, 150), (86400, 1800), (500.5, 11)]
)
def test_a_stream_of_any_length_has_few_points(length_s: float, part_s: int) -> None:
    assert part_of_a_curve_s(length_s) == part_s
