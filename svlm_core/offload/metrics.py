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

"""What a server has done and is doing, as Prometheus metrics; names, units and labels: docs/monitoring.md.

Names are those that users of inference servers know, `svlm_` before them: a chunk of frames is a request. No
label takes what a robot may choose freely: no session, no camera, and of keys only so many as one can watch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import math
import time

from svlm_core.errors import MissingPackageError
from svlm_core.offload import wire
from svlm_core.offload.outcome import Ended, Lost

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Gauge,
        generate_latest,
        Histogram,
        Info,
        PlatformCollector,
        ProcessCollector,
    )
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise MissingPackageError(f"serving needs {error.name}: pip install 'svlm_ros[serve]'") from error

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
MAX_KEYS = 200  # names of keys that get series of their own
OTHER_KEYS = "(other)"
NO_KEY = "(none)"

STAGES = ("preprocess", "vision", "cache", "prefill", "decode")
_LATENCY_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
_TOKEN_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1)
_LINK_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_DISK_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1)


class _WithoutCreated(Collector):
    """A registry without the time when each series began, which would be every second line."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class Metrics:
    """Counts; every method returns at once and may be called from any thread."""

    def __init__(self, model: str, devices: Sequence[str]) -> None:
        """Count from zero.

        Args:
            model: name of the checkpoint.
            devices: one worker each.
        """
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("svlm_server", "What serves.", registry=registry).info(
            {"model": model, "protocol": str(wire.VERSION)}
        )
        self._keys: set[str] = set()
        began_s = time.monotonic()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"svlm_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"svlm_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"svlm_{name}", text, labels, buckets=buckets, registry=registry)

        gauge("uptime_seconds", "Since the server started.").set_function(lambda: time.monotonic() - began_s)
        self._running = gauge("num_requests_running", "Chunks in the batch.", "device")
        self._waiting = gauge("num_requests_waiting", "Chunks that wait for their turn.", "device")
        self._up = gauge("worker_up", "1 while the worker of this device answers.", "device")
        self._since_decode = gauge(
            "since_decode_seconds", "Since a token was decoded, for a robot or as a probe.", "device"
        )
        self._restarts = counter("worker_restarts", "Workers that died and were started again.", "device")

        self._sessions = gauge("sessions", "Sessions, by whether their robot is connected.", "state")
        self._session_limit = gauge("sessions_limit", "Sessions there is room for.")
        self._cache_usage = gauge("kv_cache_usage_ratio", "Tokens in the KV caches over their slots, 0 to 1.")
        self._cache_tokens = gauge("kv_cache_tokens", "Tokens in the KV caches of all sessions.")
        self._cache_slots = gauge("kv_cache_capacity_tokens", "Slots of the KV caches of all sessions.")
        self._opened = counter("sessions_opened", "New sessions.")
        self._reconnects = counter(
            "session_reconnects", "Robots that came back, by what was still known.", "restored"
        )
        self._ended = counter("sessions_ended", "Sessions and connections that ended, by why.", "reason")

        self._frames_in = counter("frames_received", "Frames of all chunks that arrived.", "key")
        self._frames = counter(
            "frames", "What became of frames: used, or dropped and why.", "key", "outcome", "reason"
        )
        self._success = counter(
            "request_success", "Chunks understood, by why their words end.", "finished_reason"
        )
        self._prompt = counter("prompt_tokens", "Tokens prefilled, visual ones included.")
        self._generated = counter("generation_tokens", "Tokens generated.")
        self._first_token = histogram(
            "time_to_first_token_seconds", "From a chunk's arrival to its first token.", _LATENCY_S
        )
        self._per_token = histogram(
            "time_per_output_token_seconds", "Decoding time per token after the first.", _TOKEN_S
        )
        self._e2e = histogram(
            "e2e_request_latency_seconds", "From a chunk's arrival to its result.", _LATENCY_S
        )
        self._stage = histogram(
            "request_stage_seconds",
            "Time of a chunk in each stage; in a batch, others' work included.",
            _LATENCY_S,
            "stage",
        )

        self._refusals = counter("refusals", "Errors sent to robots, by code.", "code")
        self._bytes_in = counter("received_bytes", "Payload of messages from robots.", "key")
        self._bytes_out = counter("sent_bytes", "Payload of messages to robots.", "key")
        self._round_trip = histogram(
            "link_round_trip_seconds", "Of a heartbeat, as robots measured it.", _LINK_S, "key"
        )
        self._journal = histogram("journal_write_seconds", "Time to make a result lasting.", _DISK_S)
        self._begin_at_zero(devices)

    def _begin_at_zero(self, devices: Sequence[str]) -> None:
        """Make the series whose labels are known, so that the first event is an increase for a rate()."""
        for device in devices:
            self._restarts.labels(device)
            self.worker(device, up=False, running=0, waiting=0, since_decode_s=None)
        for code in wire.Code:
            self._refusals.labels(code.value)
        for restored in wire.Restored:
            self._reconnects.labels(restored.value)
        for reason in Ended:
            self._ended.labels(reason.value)
        for stage in STAGES:
            self._stage.labels(stage)
        self.sessions(live=0, detached=0, limit=0, cache_tokens=0, capacity_tokens=0)

    # ---- workers --------------------------------------------------------------------------------------

    def worker(
        self, device: str, *, up: bool, running: int, waiting: int, since_decode_s: float | None
    ) -> None:
        """Say what a worker does now.

        Args:
            device: its own.
            up: whether it answers.
            running: chunks in work.
            waiting: chunks that wait for their turn.
            since_decode_s: since it decoded a token, NaN is shown for None: it has not yet.
        """
        self._up.labels(device).set(up)
        self._running.labels(device).set(running)
        self._waiting.labels(device).set(waiting)
        self._since_decode.labels(device).set(math.nan if since_decode_s is None else since_decode_s)

    def worker_restarted(self, device: str) -> None:
        """A worker that had died was started again."""
        self._restarts.labels(device).inc()

    # ---- sessions -------------------------------------------------------------------------------------

    def sessions(
        self, *, live: int, detached: int, limit: int, cache_tokens: int, capacity_tokens: int
    ) -> None:
        """Say how many sessions there are now, and what their caches hold together.

        Args:
            live: those whose robot is connected.
            detached: those kept for a robot that is gone.
            limit: how many there may be.
            cache_tokens: in all their caches.
            capacity_tokens: slots of those.
        """
        self._sessions.labels("live").set(live)
        self._sessions.labels("detached").set(detached)
        self._session_limit.set(limit)
        self._cache_tokens.set(cache_tokens)
        self._cache_slots.set(capacity_tokens)
        self._cache_usage.set(cache_tokens / capacity_tokens if capacity_tokens else 0.0)

    def session_opened(self) -> None:
        """A robot began a new session."""
        self._opened.inc()

    def session_resumed(self, restored: wire.Restored) -> None:
        """A robot came back to its session."""
        self._reconnects.labels(restored.value).inc()

    def session_ended(self, reason: Ended) -> None:
        """A session is over, or its connection is."""
        self._ended.labels(reason.value).inc()

    # ---- messages -------------------------------------------------------------------------------------

    def received(self, key: str, size_bytes: int) -> None:
        """A message came from a robot that has this key, "" for none."""
        self._bytes_in.labels(self._known(key)).inc(size_bytes)

    def sent(self, key: str, size_bytes: int) -> None:
        """A message went to a robot."""
        self._bytes_out.labels(self._known(key)).inc(size_bytes)

    def refused(self, code: wire.Code) -> None:
        """A robot was sent an Error."""
        self._refusals.labels(code.value).inc()

    def round_trip(self, key: str, took_ms: float) -> None:
        """A robot said how long its last heartbeat took there and back."""
        self._round_trip.labels(self._known(key)).observe(took_ms / 1e3)

    # ---- chunks ---------------------------------------------------------------------------------------

    def chunk_received(self, key: str, frames: int) -> None:
        """A chunk arrived; chunk_understood or chunk_dropped follows for each, once."""
        self._frames_in.labels(self._known(key)).inc(frames)

    def chunk_understood(
        self, key: str, frames: int, result: wire.Result, first_token_s: float | None
    ) -> None:
        """A chunk has its result.

        Args:
            key: of the robot.
            frames: of the chunk.
            result: what goes to the robot.
            first_token_s: from its arrival to its first token; None if it has none.
        """
        self._frames.labels(self._known(key), "used", "").inc(frames)
        self._success.labels(result.finish).inc()
        self._prompt.inc(result.prefill_tokens)
        self._generated.inc(len(result.token_ids))
        self._e2e.observe(result.server_ms / 1e3)
        for stage in STAGES:
            if stage in result.stage_ms:
                self._stage.labels(stage).observe(result.stage_ms[stage] / 1e3)
        if first_token_s is not None:
            self._first_token.observe(first_token_s)
        if len(result.token_ids) > 1 and "decode" in result.stage_ms:
            self._per_token.observe(result.stage_ms["decode"] / 1e3 / (len(result.token_ids) - 1))

    def chunk_dropped(self, key: str, frames: int, reason: wire.Code | Lost) -> None:
        """A chunk was refused, or its result was lost."""
        self._frames.labels(self._known(key), "dropped", reason.value).inc(frames)

    def journalled(self, took_s: float) -> None:
        """The journal has written a result."""
        self._journal.observe(took_s)

    # ---- reading --------------------------------------------------------------------------------------

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(_WithoutCreated(self._registry))

    def _known(self, key: str) -> str:
        """The label of a key: its name, unless there are more than one can watch."""
        if not key:
            return NO_KEY
        if key not in self._keys:
            if len(self._keys) >= MAX_KEYS:
                return OTHER_KEYS
            self._keys.add(key)
        return key
