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

"""What the front does, as metrics, vital signs and log lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
import logging
import time

from svlm_core.errors import ConfigError
from svlm_core.offload import backend, wire
from svlm_core.offload.actions import Began, Came, Count, Dropped, Landed, Parted
from svlm_core.offload.metrics import CONTENT_TYPE, Metrics
from svlm_core.offload.serving import DEFAULT_METRICS
from svlm_core.offload.session import Session
from svlm_core.offload.status import Page, Pages, StatusServer
from svlm_core.offload.vitals import Verdict, Vitals

LOG = logging.getLogger(__name__)


class Observer:
    """Told by the front of everything; tells operators."""

    def __init__(self, model: str, devices: Sequence[str], room: int) -> None:
        """Nothing has happened yet.

        Args:
            model: name of the checkpoint.
            devices: one worker each.
            room: most sessions.
        """
        self._metrics = Metrics(model, devices)
        self._vitals = Vitals(devices, time.monotonic())
        self._room = room

    def show(self, address: str | None) -> AbstractContextManager[object]:
        """Serve /metrics, /live and /ready until the context ends.

        Args:
            address: as of ServeConfig.metrics.

        Raises:
            ConfigError: it cannot be had.
        """
        if address == "":
            return nullcontext()
        vitals = self._vitals
        pages: Pages = {
            "/metrics": lambda: Page(HTTPStatus.OK, CONTENT_TYPE, self._metrics.text()),
            "/live": lambda: _page(vitals.live(time.monotonic())),
            "/ready": lambda: _page(vitals.ready(time.monotonic())),
        }
        try:
            server = StatusServer(address or DEFAULT_METRICS, pages)
        except ConfigError as error:
            if address:
                raise
            LOG.warning("no metrics are shown: %s; --metrics names another address", error)
            return nullcontext()
        LOG.info("metrics", extra={"url": f"{server.url}/metrics"})
        return server

    def count(self, what: Count) -> None:
        """Something became of a session or a chunk."""
        metrics = self._metrics
        if isinstance(what, Came):
            metrics.chunk_received(what.user, what.frames)
        elif isinstance(what, Landed):
            metrics.chunk_understood(what.user, what.frames, what.result, what.first_token_s)
        elif isinstance(what, Dropped):
            metrics.chunk_dropped(what.user, what.frames, what.reason)
        elif isinstance(what, Began):
            if what.new:
                metrics.session_opened()
            else:
                metrics.session_resumed(what.restored)
            about = {"session": what.session, "camera": what.camera, "restored": what.restored.value}
            LOG.info("began" if what.new else "came back", extra=about)
        elif isinstance(what, Parted):
            metrics.session_ended(what.reason)
            LOG.info("left", extra={"session": what.session, "reason": what.reason.value})

    def heard(self, user: str, size_bytes: int, message: wire.FromRobot) -> None:
        """A message came from a robot; a Ping says how long the one before took, 0 for not yet."""
        self._metrics.received(user, size_bytes)
        if isinstance(message, wire.Ping) and message.round_trip_ms:
            self._metrics.round_trip(user, message.round_trip_ms)

    def unreadable(self, user: str, size_bytes: int, error: wire.WireError) -> None:
        """A message breaks the protocol; its robot is told no more than the code."""
        self._metrics.received(user, size_bytes)
        LOG.warning("unreadable: %s", error, extra={"key": user, "code": error.code.value})

    def said(self, session: Session | None, message: wire.FromServer, size_bytes: int) -> None:
        """A message went to a robot, about its session if it has one."""
        self._metrics.sent(session.user if session else "", size_bytes)
        about = {"session": session.name, "epoch": session.epoch} if session else {}
        if isinstance(message, wire.Error):
            self._metrics.refused(message.code)
            if message.seq is not None:
                about["seq"] = message.seq
            if message.field:
                about["field"] = message.field
            LOG.warning("refused", extra={**about, "code": message.code.value})
        elif isinstance(message, wire.Welcome):
            LOG.debug("welcome", extra={**about, "seq": message.last, "restored": message.restored.value})
        elif isinstance(message, wire.Result):
            LOG.debug("understood", extra={**about, "seq": message.seq, "ms": round(message.server_ms, 1)})

    def wrote(self, took_s: float) -> None:
        """The journal took this long."""
        self._metrics.journalled(took_s)

    def worker_health(self, device: str, health: backend.Health, now_s: float) -> None:
        """A worker said how it is."""
        self._vitals.worker_reported(device, health.since_decode_s, now_s)
        self._metrics.worker(
            device,
            up=True,
            running=health.running,
            waiting=health.waiting,
            since_decode_s=health.since_decode_s,
        )

    def worker_mute(self, device: str) -> None:
        """A worker is there, and does not answer."""
        self._metrics.worker(device, up=False, running=0, waiting=0, since_decode_s=None)

    def worker_lost(self, device: str) -> None:
        """A worker has ended, and was started again."""
        self._vitals.worker_lost(device)
        self._metrics.worker(device, up=False, running=0, waiting=0, since_decode_s=None)
        self._metrics.worker_restarted(device)

    def beat(
        self,
        attached: int,
        sessions: int,
        health: Mapping[str, backend.Health | None],
        draining: bool,
        now_s: float,
    ) -> None:
        """The front passed through its loop.

        Args:
            attached: sessions whose robot is there.
            sessions: all of them.
            health: of the workers.
            draining: whether the server shuts down.
            now_s: monotonic.
        """
        self._vitals.beat(now_s, draining)
        known = [one for one in health.values() if one is not None]
        self._metrics.sessions(
            live=attached,
            detached=sessions - attached,
            limit=self._room,
            cache_tokens=sum(one.cache_tokens for one in known),
            capacity_tokens=sum(one.capacity_tokens for one in known),
        )


def _page(verdict: Verdict) -> Page:
    return Page.of_verdict(verdict.yes, verdict.text)
