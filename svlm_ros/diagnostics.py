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

"""What a stream node says about itself on /diagnostics: levels that mean something, by pure functions.

Three statuses a node: `model` (is it loaded), `images` (do they come) and `commentary` (is it about now); a
fourth where the model runs elsewhere: `link` (is it reached).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from svlm_core.frames import DROPPED_BROKEN
from svlm_ros.health import Snapshot
from svlm_ros.image_qos import ImageLink

if TYPE_CHECKING:
    from svlm_core.offload.link import LinkState

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)

_SILENT_S = 5.0  # images come, but nothing was understood for this long, or for so many chunks
_SILENT_CHUNKS = 3
_OLD_CHUNKS = 2  # words about a moment longer ago than this do not keep up
_AHEAD_S = 0.5  # a camera's clock this far ahead of the node's is no jitter
_ERROR_SHOWN_S = 10.0  # how long an error that passed keeps the level up
_LOGGED = ("images", "commentary")  # what there is to say of the model, the worker has logged


@dataclass(frozen=True)
class Condition:
    """How a stream node stands.

    Attributes:
        state: the lifecycle state: inactive or active.
        model: name of the checkpoint, or of the server's once it is known.
        loading_s: how long the model loads already; None if it does not.
        failure: why inference ended by itself; "" if it did not.
        enabled: whether it looks and speaks.
        clock_waits: simulated time is asked for, and no /clock came yet.
        chunk_s: length of a chunk.
        cache_tokens, capacity_tokens: the KV cache.
        link: the image topic; None while the node is inactive or the model loads.
        health: what was measured.
        endpoint: where the server is; "" while the model runs here.
        server: the link to it; None while the node is not active.
        server_s: how long it has stood so.
    """

    state: str
    model: str
    loading_s: float | None
    failure: str
    enabled: bool
    clock_waits: bool
    chunk_s: float
    cache_tokens: int
    capacity_tokens: int
    link: ImageLink | None
    health: Snapshot
    endpoint: str = ""
    server: LinkState | None = None
    server_s: float = 0.0

    @property
    def down(self) -> str:
        """How the link to the server stands, if chunks cannot go over it; else ""."""
        return self.server.name if self.server is not None and self.server.name != "live" else ""


@dataclass(frozen=True)
class Finding:
    """One status: level, message and values."""

    name: str
    level: bytes
    message: str
    values: Mapping[str, str]


def findings(condition: Condition) -> list[Finding]:
    """The statuses of a node."""
    found = [_model(condition), _images(condition), _commentary(condition)]
    return [*found, _link(condition)] if condition.endpoint else found


def _model(condition: Condition) -> Finding:
    health = condition.health
    level, message = OK, "ready"
    if condition.failure:
        level, message = ERROR, condition.failure
    elif condition.state != "active":
        message = f"not loaded: the node is {condition.state}"
    elif condition.down:
        level, message = WARN, f"not reached: the link is {condition.down}"
    elif condition.loading_s is not None:
        level, message = WARN, f"loading for {condition.loading_s:.0f} s"
    elif health.last_error and health.since_error_s < _ERROR_SHOWN_S:
        level, message = WARN, health.last_error
    values = {
        "lifecycle state": condition.state,
        "model": condition.model,
        "last error": health.last_error,
        "since last error [s]": _number(health.since_error_s if health.last_error else None),
    }
    return Finding("model", level, message, values)


def _images(condition: Condition) -> Finding:
    link, health = condition.link, condition.health
    level, message = OK, "images come"
    if link is None:
        message = (
            "not subscribed yet: the model is not ready" if condition.state == "active" else "not subscribed"
        )
    elif link.mismatch:
        level, message = ERROR, link.mismatch
    elif not link.publishers:
        level = STALE if link.received else WARN
        gone = "the publisher is gone from" if link.received else "waiting for a publisher on"
        message = f"{gone} {link.topic}"
    elif link.quiet_hint:
        level = WARN
        message = (
            f"{link.topic} has a publisher but no image came for {link.quiet_s:.0f} s; {link.quiet_hint}"
        )
    elif health.dropped_hz.get(DROPPED_BROKEN):
        level, message = WARN, "some messages are not pictures"
    elif condition.clock_waits:
        level, message = WARN, "use_sim_time is set, but nobody publishes /clock"
    elif not link.received:
        level, message = WARN, f"no image yet on {link.topic}"
    elif health.ahead_s > _AHEAD_S:
        level = WARN
        message = f"the images' stamps are {health.ahead_s:.1f} s ahead of this node's clock"
    reasons = sorted({*health.frames_dropped, *health.dropped_hz})
    values = {
        "topic": link.topic if link else "",
        "publishers": str(link.publishers if link else 0),
        "frames in": str(health.frames_in),
        "frames used": str(health.frames_used),
        "frames pending": str(health.frames_pending),
        "frames dropped": str(sum(health.frames_dropped.values())),
        **{f"frames dropped: {name}": str(health.frames_dropped.get(name, 0)) for name in reasons},
        "in [Hz]": _number(health.in_hz),
        "used [Hz]": _number(health.used_hz),
        "dropped [Hz]": _number(sum(health.dropped_hz.values())),
        "callback p99 [ms]": _number(health.callback_ms_p99),
    }
    return Finding("images", level, message, values)


def _commentary(condition: Condition) -> Finding:
    health = condition.health
    level, message = OK, "about now"
    silent_s = max(_SILENT_S, _SILENT_CHUNKS * condition.chunk_s)
    old_s = _OLD_CHUNKS * condition.chunk_s
    if condition.link is None:
        message = "not running"
    elif not condition.enabled:
        message = "disabled"
    elif condition.down:
        level = STALE
        message = f"nothing is understood: the link is {condition.down}"
    elif health.busy_s > silent_s:
        level, message = ERROR, f"the model has worked on one chunk for {health.busy_s:.0f} s"
    elif health.idle_s > silent_s:
        level = STALE
        message = f"nothing to comment on for {health.idle_s:.0f} s"
    elif health.came_old_s > old_s:
        level = WARN
        message = (
            f"images are {health.came_old_s:.1f} s old by this node's clock when they come; "
            "for a recording set use_sim_time, else mend the camera's clock"
        )
    elif health.age_s_p95 is not None and health.age_s_p95 > old_s:
        level = WARN
        message = f"words come {health.age_s_p95:.1f} s after the picture: the model does not keep up"
    values = {
        "enabled": str(condition.enabled).lower(),
        "chunks": str(health.chunks),
        "chunk latency p50 [ms]": _number(health.chunk_ms_p50),
        "chunk latency p95 [ms]": _number(health.chunk_ms_p95),
        "age p50 [s]": _number(health.age_s_p50),
        "age p95 [s]": _number(health.age_s_p95),
        "cache [tokens]": str(condition.cache_tokens),
        "cache capacity [tokens]": str(condition.capacity_tokens),
        "cache fill [%]": _number(100 * condition.cache_tokens / max(1, condition.capacity_tokens)),
        "questions answered": str(health.answers),
        "questions refused": str(health.refused),
    }
    return Finding("commentary", level, message, values)


_LINK_LEVELS = {"live": OK, "connecting": WARN, "stalled": WARN, "refused": ERROR}


def _link(condition: Condition) -> Finding:
    server = condition.server
    level, message = OK, f"not connected: the node is {condition.state}"
    if server is not None:
        level, message = _LINK_LEVELS[server.name], server.name
        message += f": {server.reason}" if server.reason else ""
    values = {
        "endpoint": condition.endpoint,
        "state": server.name if server else "",
        "reason": server.reason if server else "",
        "in this state [s]": _number(condition.server_s if server else None),
        "round trip [ms]": _number(server.round_trip_ms if server else None),
        "reconnects": str(server.reconnects if server else 0),
    }
    return Finding("link", level, message, values)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


class DiagnosticsPublisher:
    """Publishes findings once a second, and at once when a level changes; logs what is not OK."""

    def __init__(self, node: Node) -> None:
        """Make the publisher."""
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._said: dict[str, tuple[bytes, str]] = {}
        self._published_s = 0.0

    def publish(self, found: Sequence[Finding], now_s: float, period_s: float) -> None:
        """Publish if it is time to.

        Args:
            found: the findings.
            now_s: time.monotonic().
            period_s: how often unchanged levels are published.
        """
        levels = {finding.name: finding.level for finding in found}
        changed = levels != {name: level for name, (level, _) in self._said.items()}
        if not changed and now_s - self._published_s < period_s:
            return
        self._published_s = now_s
        array = DiagnosticArray(status=[self._status(finding) for finding in found])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)
        for finding in found:
            self._log(finding)
        self._said = {finding.name: (finding.level, finding.message) for finding in found}

    def close(self) -> None:
        """Take the publisher down."""
        self._node.destroy_publisher(self._publisher)

    def _status(self, finding: Finding) -> DiagnosticStatus:
        name = self._node.get_fully_qualified_name()
        values = [KeyValue(key=key, value=value) for key, value in finding.values.items()]
        return DiagnosticStatus(
            name=f"{name}: {finding.name}", level=finding.level, message=finding.message, values=values
        )

    def _log(self, finding: Finding) -> None:
        """A level that changes is worth a line in the log, too."""
        before, _ = self._said.get(finding.name, (OK, ""))
        if finding.level == before or finding.name not in _LOGGED:
            return
        logger = self._node.get_logger()
        line = f"{finding.name}: {finding.message}"
        if finding.level == OK:
            logger.info(line)
        elif finding.level == ERROR:
            logger.error(line)
        else:
            logger.warning(line)
