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

"""Watches worker processes, and starts them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
import logging

import msgspec
from svlm_core.errors import SvlmError
from svlm_core.offload import backend
from svlm_core.offload.launcher import EXIT_DEVICE, Launcher, WorkerConfig, WorkerProcess
from svlm_core.offload.vitals import GONE_AFTER_S

LOG = logging.getLogger(__name__)

STOP_S = 5.0  # from Stop to SIGKILL
SILENT_S = 30.0  # a worker that says nothing for so long is killed; it says something every second
STUCK_S = 120.0  # the same for one whose engine does not finish a step, captures and compilation included
LOAD_S = 600.0  # the same for one that is started again and does not get ready; the first may download
MUTE_S, MUTE_STEP_S = GONE_AFTER_S, 30.0  # after that much of either, robots are told
DIE_S = 30.0  # a killed one that is still there then hangs in the kernel, as in a device's driver
RESTARTS, RESTARTS_S = (
    3,
    60.0,
)  # so many in so long a time; then something is wrong that a restart cannot mend
DEVICE_RESTARTS, DEVICE_RESTARTS_S = 1, 600.0  # the same for a device that is broken


class WorkersLostError(SvlmError):
    """A worker cannot be kept running; the server ends, so that a supervisor may start it anew."""


@dataclass
class _Slot:
    """A worker's place, in which one process follows another."""

    config: WorkerConfig
    process: WorkerProcess
    generation: int
    heard_s: float
    ready: bool = False
    served: bool = False  # whether any of its processes was ever ready
    failed: backend.Failed | None = None
    health: backend.Health | None = None
    mute: bool = False
    killed_s: float | None = None
    deaths_s: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS + 1))
    broken_s: deque[float] = field(default_factory=lambda: deque(maxlen=DEVICE_RESTARTS + 1))

    @property
    def identity(self) -> bytes:
        """Of the process that is there now, on the backend's socket."""
        return _identity(self.config.name, self.generation)


class Workers:
    """All workers of a server, by name; each is one process after another."""

    def __init__(self, launcher: Launcher, configs: Sequence[WorkerConfig], now_s: float) -> None:
        """Start them all; they load their models at the same time."""
        self._launcher = launcher
        self._checked_s = now_s
        self._slots = {config.name: _Slot(config, self._start(config, 0), 0, now_s) for config in configs}

    @property
    def all_served(self) -> bool:
        """Whether every worker has been ready once."""
        return all(slot.served for slot in self._slots.values())

    @property
    def health(self) -> dict[str, backend.Health | None]:
        """What every worker's engine does, None while it is not ready."""
        return {name: slot.health if slot.ready else None for name, slot in self._slots.items()}

    @property
    def mute(self) -> list[str]:
        """Those that should answer and did not, when they were checked last."""
        return [name for name, slot in self._slots.items() if slot.mute]

    def device(self, name: str) -> str:
        """The device of a worker."""
        return self._slots[name].config.device

    def identity(self, name: str) -> bytes:
        """Where messages to a worker go."""
        return self._slots[name].identity

    def hear(self, identity: bytes, message: backend.FromWorker, now_s: float) -> str | None:
        """Take note of a message; returns the worker's name, None if it is of a process that is gone."""
        name = identity.decode().rpartition("/")[0]
        slot = self._slots[name]
        if identity != slot.identity:
            return None
        slot.heard_s = now_s
        if isinstance(message, backend.Ready):
            LOG.info("worker %s on %s is ready", name, slot.config.device)
            slot.ready = slot.served = True
        elif isinstance(message, backend.Health):
            slot.health = message
        elif isinstance(message, backend.Failed):
            slot.failed = message
        return name

    def check(self, now_s: float) -> list[str]:
        """Start workers again that have ended, and kill those that hang; call it a few times a second.

        Returns:
            The workers whose streams are gone.

        Raises:
            WorkersLostError: one could not be started, or ends again and again, or cannot be ended, or its
                device is broken.
        """
        held = now_s - self._checked_s > MUTE_S  # this process was, or its machine: nobody else is to blame
        self._checked_s = now_s
        lost = []
        for name, slot in self._slots.items():
            slot.heard_s = now_s if held else slot.heard_s
            code = slot.process.exit_code()
            if code is not None:
                self._replace(name, slot, code, now_s)
                lost.append(name)
            elif slot.killed_s is not None:
                if now_s - slot.killed_s > DIE_S:
                    raise WorkersLostError(f"the worker on {slot.config.device} hangs, and cannot be ended")
            elif why := _hangs(slot, now_s, SILENT_S, STUCK_S):
                LOG.error("worker %s %s: killed", name, why)
                self._kill(slot, now_s)
            else:
                _note(name, slot, _hangs(slot, now_s, MUTE_S, MUTE_STEP_S))
        return lost

    def kill(self, name: str, now_s: float) -> None:
        """End a worker that does not take its messages; `check` starts it again."""
        self._kill(self._slots[name], now_s)

    def _kill(self, slot: _Slot, now_s: float) -> None:
        slot.process.kill()
        slot.killed_s = now_s

    def end(self) -> None:
        """Wait for workers that were told to stop, and kill those that do not."""
        for slot in self._slots.values():
            if not slot.process.wait(STOP_S):
                slot.process.kill()
                slot.process.wait(STOP_S)

    def _start(self, config: WorkerConfig, generation: int) -> WorkerProcess:
        name = _identity(config.name, generation).decode()
        return self._launcher.start(msgspec.structs.replace(config, name=name))

    def _replace(self, name: str, slot: _Slot, code: int, now_s: float) -> None:
        why = slot.failed.text if slot.failed else f"exit code {code}"
        if not slot.served:
            raise WorkersLostError(f"the worker on {slot.config.device} could not start: {why}")
        slot.process.wait(0.0)
        slot.deaths_s.append(now_s)
        if code == EXIT_DEVICE or (slot.failed is not None and slot.failed.device):
            slot.broken_s.append(now_s)
        if _too_often(slot.broken_s, now_s, DEVICE_RESTARTS, DEVICE_RESTARTS_S):
            raise WorkersLostError(f"the device {slot.config.device} is broken: {why}")
        if _too_often(slot.deaths_s, now_s, RESTARTS, RESTARTS_S):
            raise WorkersLostError(f"the worker on {slot.config.device} ends again and again: {why}")
        LOG.error("worker %s on %s ended (%s): started again", name, slot.config.device, why)
        slot.generation += 1
        slot.ready, slot.failed, slot.health, slot.heard_s = False, None, None, now_s
        slot.mute, slot.killed_s = False, None
        slot.process = self._start(slot.config, slot.generation)


def _identity(name: str, generation: int) -> bytes:
    return f"{name}/{generation}".encode()


def _hangs(slot: _Slot, now_s: float, silent_s: float, stuck_s: float) -> str:
    """Why a worker must be thought to hang, "" if it need not."""
    quiet_s = now_s - slot.heard_s
    if not slot.ready:
        return f"is not ready after {LOAD_S:.0f} s" if slot.served and quiet_s > LOAD_S else ""
    if quiet_s > silent_s:
        return f"has said nothing for {silent_s:.0f} s"
    if slot.health and slot.health.running and slot.health.since_step_s > stuck_s:
        return f"has not finished a step for {stuck_s:.0f} s"
    return ""


def _note(name: str, slot: _Slot, why: str) -> None:
    """A worker does not answer, or does again."""
    if why and not slot.mute:
        LOG.warning("worker %s %s: its robots are told", name, why)
    elif slot.mute and not why:
        LOG.warning("worker %s answers again", name)
    slot.mute = bool(why)


def _too_often(times_s: deque[float], now_s: float, allowed: int, within_s: float) -> bool:
    return sum(now_s - time_s <= within_s for time_s in times_s) > allowed
