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

"""Levels and messages: pure functions of how a node stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from svlm_core.offload.link import LinkState
from svlm_ros.diagnostics import Condition, ERROR, findings, OK, STALE, WARN
from svlm_ros.health import Snapshot
from svlm_ros.image_qos import ImageLink

LINK = ImageLink("/front/image", publishers=1, received=100, quiet_s=0.1, mismatch="", quiet_hint="")
HEALTHY = Condition(
    state="active",
    model="tiny",
    loading_s=None,
    failure="",
    enabled=True,
    clock_waits=False,
    chunk_s=1.0,
    cache_tokens=300,
    capacity_tokens=1200,
    link=LINK,
    health=Snapshot(frames_in=100, frames_used=7, frames_dropped={"rate": 93}, age_s_p50=0.1, age_s_p95=0.2),
)

LIVE = LinkState("live", "", since_s=0.0, round_trip_ms=0.4321, reconnects=2)
REMOTE = replace(HEALTHY, endpoint="tcp://workstation:5577", server=LIVE, server_s=12.0)


def of(health: dict[str, Any] | None = None, link: dict[str, Any] | None = None, **changes: Any) -> Condition:
    condition = replace(HEALTHY, **changes)
    if health:
        condition = replace(condition, health=replace(condition.health, **health))
    if link:
        condition = replace(condition, link=replace(LINK, **link))
    return condition


def standing(name: str, reason: str = "", **changes: Any) -> Condition:
    """A node whose link stands so."""
    return replace(REMOTE, server=replace(LIVE, name=name, reason=reason), **changes)


@pytest.mark.parametrize(
    ("name", "condition", "level", "words"),
    [
        ("model", HEALTHY, OK, "ready"),
        ("model", of(state="inactive"), OK, "inactive"),
        ("model", of(loading_s=12.3), WARN, "loading for 12 s"),
        ("model", of(failure="no such folder"), ERROR, "no such folder"),
        ("model", of(health={"last_error": "NaN", "since_error_s": 2.0}), WARN, "NaN"),
        ("model", of(health={"last_error": "NaN", "since_error_s": 60.0}), OK, "ready"),
        ("images", HEALTHY, OK, "images come"),
        ("images", replace(HEALTHY, link=None), OK, "not subscribed yet"),
        (
            "images",
            of(link={"publishers": 0, "received": 0}),
            WARN,
            "waiting for a publisher on /front/image",
        ),
        ("images", of(link={"publishers": 0}), STALE, "the publisher is gone"),
        ("images", of(link={"received": 0}), WARN, "no image yet"),
        ("images", of(link={"mismatch": "/cam does not offer"}), ERROR, "/cam does not offer"),
        ("images", of(link={"quiet_s": 7.0, "quiet_hint": "try this"}), WARN, "for 7 s; try this"),
        ("images", of(health={"dropped_hz": {"broken": 3.0}}), WARN, "not pictures"),
        ("images", of(health={"dropped_hz": {"rate": 28.0}}), OK, "images come"),
        ("images", of(health={"ahead_s": 3.0}), WARN, "3.0 s ahead"),
        ("images", of(clock_waits=True), WARN, "/clock"),
        ("commentary", HEALTHY, OK, "about now"),
        ("commentary", replace(HEALTHY, link=None), OK, "not running"),
        ("commentary", of(enabled=False, health={"idle_s": 99.0}), OK, "disabled"),
        ("commentary", of(health={"idle_s": 9.0}), STALE, "for 9 s"),
        ("commentary", of(chunk_s=4.0, health={"idle_s": 9.0}), OK, "about now"),
        ("commentary", of(health={"busy_s": 30.0, "idle_s": 30.0}), ERROR, "one chunk for 30 s"),
        ("commentary", of(health={"age_s_p95": 2.5}), WARN, "does not keep up"),
        ("commentary", of(chunk_s=2.0, health={"age_s_p95": 2.5}), OK, "about now"),
        ("commentary", of(health={"age_s_p95": 99.0, "came_old_s": 98.0}), WARN, "use_sim_time"),
        ("commentary", standing("stalled"), STALE, "the link is stalled"),
        ("commentary", standing("stalled", enabled=False), OK, "disabled"),
        ("model", REMOTE, OK, "ready"),
        ("model", standing("connecting", loading_s=3.0), WARN, "the link is connecting"),
        ("link", REMOTE, OK, "live"),
        ("link", standing("connecting"), WARN, "connecting"),
        ("link", standing("stalled", "silent for 3 s"), WARN, "stalled: silent for 3 s"),
        ("link", standing("refused", "the key is not allowed"), ERROR, "refused: the key is not allowed"),
        ("link", replace(REMOTE, state="inactive", server=None), OK, "the node is inactive"),
    ],
)
def test_levels_and_messages(name: str, condition: Condition, level: bytes, words: str) -> None:
    (finding,) = [finding for finding in findings(condition) if finding.name == name]
    assert (finding.level, words in finding.message) == (level, True), finding


def test_only_a_node_whose_model_is_elsewhere_speaks_of_a_link() -> None:
    assert [finding.name for finding in findings(HEALTHY)] == ["model", "images", "commentary"]
    (link,) = [finding for finding in findings(standing("refused", "full")) if finding.name == "link"]
    assert link.values == {
        "endpoint": "tcp://workstation:5577",
        "state": "refused",
        "reason": "full",
        "in this state [s]": "12",
        "round trip [ms]": "0.432",
        "reconnects": "2",
    }
    down = replace(REMOTE, state="inactive", server=None)
    assert findings(down)[3].values.keys() == link.values.keys()


def test_values_say_what_became_of_every_frame() -> None:
    health = {
        "frames_in": 50,
        "frames_used": 10,
        "frames_pending": 2,
        "frames_dropped": {"rate": 30, "broken": 8},
        "in_hz": 30.0,
        "callback_ms_p99": 0.25,
    }
    values = {finding.name: finding.values for finding in findings(of(health=health))}
    images = values["images"]
    assert (images["frames in"], images["frames used"], images["frames pending"]) == ("50", "10", "2")
    assert images["frames dropped"] == "38"
    assert images["frames dropped: rate"] == "30" and images["frames dropped: broken"] == "8"
    assert images["in [Hz]"] == "30" and images["callback p99 [ms]"] == "0.25"
    assert values["commentary"]["cache fill [%]"] == "25"
    assert values["commentary"]["chunk latency p50 [ms]"] == ""  # not measured yet
