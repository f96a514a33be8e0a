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

"""A few moments of each kind, kept as a stream goes by; the same ones after a restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from svlm_core.evaluation.benchmarks.pictures import picture_path
from svlm_core.evaluation.moments import moment_records, Moments
from svlm_core.evaluation.score import Judged

PICTURES = [np.zeros((84, 84, 3), np.uint8)] * 2


def second(number: int) -> Judged:
    kind = ("new", "stops")[number % 2]
    return Judged("said", "said" if number % 3 else "true", kind, "", None)


def test_the_first_mistakes_of_each_kind_and_the_first_right_ones(tmp_path: Path) -> None:
    moments = Moments(tmp_path, "full")
    for number in range(60):
        moments.see(number, second(number), PICTURES)
    kept = moment_records(tmp_path).read()
    assert {(r["kind"], r["right"]) for r in kept.values()} == {
        (kind, right) for kind in ("new", "stops") for right in (True, False)
    }
    assert [r["second"] for r in kept.values() if r["kind"] == "new" and not r["right"]] == [0, 6, 12, 18]
    assert [r["second"] for r in kept.values() if r["kind"] == "new" and r["right"]] == [2, 4]
    assert kept["full, 00:06"]["true"] == "true"
    assert all(picture_path(tmp_path, name).read_bytes()[:2] == b"\xff\xd8" for name in kept)


def test_a_stream_that_goes_on_from_an_earlier_second_keeps_the_same(tmp_path: Path) -> None:
    other = Moments(tmp_path / "cut", "other")
    other.see(30, second(30), PICTURES)
    for first, last in ((0, 9), (5, 8), (8, 60)):  # what came after the last saved second comes again
        moments = Moments(tmp_path / "cut", "full")
        for number in range(first, last):
            moments.see(number, second(number), PICTURES)
    whole = Moments(tmp_path / "whole", "full")
    for number in range(60):
        whole.see(number, second(number), PICTURES)
    found = moment_records(tmp_path / "cut").read()
    assert found.pop("other, 00:30"), "another stream's are left alone"
    assert found == moment_records(tmp_path / "whole").read()
