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

"""Whether a server is alive and ready, as its supervisor and its load balancer ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import threading

LIVE_WITHIN_S = 10.0  # the front passes through its loop several times a second
READY_WITHIN_S = 30.0  # workers decode a probe every PROBE_EVERY_S when nothing else is asked of them
PROBE_EVERY_S = 5.0
GONE_AFTER_S = 5.0  # workers report every second


@dataclass(frozen=True)
class Verdict:
    """An answer, and one line that says why."""

    yes: bool
    text: str


class Vitals:
    """What is known of the front and its workers; thread-safe, times are monotonic and passed in."""

    def __init__(self, devices: Sequence[str], now_s: float) -> None:
        """Nothing is known yet of the workers of these devices."""
        self._lock = threading.Lock()
        self._beat_s = now_s
        self._draining = False
        self._stepped_s: dict[str, float | None] = dict.fromkeys(devices)
        self._reported_s = dict.fromkeys(devices, now_s)

    def beat(self, now_s: float, draining: bool = False) -> None:
        """The front passed through its loop."""
        with self._lock:
            self._beat_s, self._draining = now_s, draining

    def worker_reported(self, device: str, since_decode_s: float | None, now_s: float) -> None:
        """A worker said when its engine last decoded a token; None if it never did."""
        with self._lock:
            self._reported_s[device] = now_s
            self._stepped_s[device] = None if since_decode_s is None else now_s - since_decode_s

    def worker_lost(self, device: str) -> None:
        """A worker died, or is being started again."""
        with self._lock:
            self._stepped_s[device] = None

    def live(self, now_s: float) -> Verdict:
        """Whether the front still works; if not, start it again."""
        with self._lock:
            silent_s = now_s - self._beat_s
        if silent_s > LIVE_WITHIN_S:
            return Verdict(False, f"the front has been stuck for {silent_s:.0f} s")
        return Verdict(True, "live")

    def ready(self, now_s: float) -> Verdict:
        """Whether chunks are understood now: some worker decoded a moment ago, and none is lost or stuck."""
        live = self.live(now_s)
        if not live.yes:
            return live
        with self._lock:
            draining = self._draining
            steps = [(device, self._reported_s[device], s) for device, s in self._stepped_s.items()]
        if draining:
            return Verdict(False, "shutting down")
        for device, reported_s, stepped_s in steps:
            if stepped_s is None:
                return Verdict(False, f"the worker of {device} has not decoded yet")
            if now_s - reported_s > GONE_AFTER_S:
                return Verdict(False, f"the worker of {device} said nothing for {now_s - reported_s:.0f} s")
            if now_s - stepped_s > READY_WITHIN_S:
                return Verdict(False, f"{device} has not decoded for {now_s - stepped_s:.0f} s")
        latest_s = min(now_s - stepped_s for _, _, stepped_s in steps if stepped_s is not None)
        return Verdict(True, f"ready; the last token was decoded {latest_s:.1f} s ago")
