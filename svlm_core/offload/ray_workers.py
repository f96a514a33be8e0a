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

"""Workers as actors of a Ray cluster, one on each GPU, wherever in the cluster that is.

The front stays where it was started, and starts actors again itself: it knows which streams they had. Between
it and them goes TCP with CURVE, under keys that are made for one run of the server and handed over by Ray. A
cluster trusts everybody who can reach its ports: keep it in a network of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import logging
from types import TracebackType
from typing import Any

import msgspec
from svlm_core.errors import ConfigError, MissingPackageError
from svlm_core.offload.bell import Bell
from svlm_core.offload.launcher import EXIT_ERROR, WorkerConfig
from svlm_core.offload.worker_link import Address, connect_to_front, listen_to_workers, RemoteLinks

LOG = logging.getLogger(__name__)


class _Actor:
    """A worker inside Ray."""

    def serve(self, config: bytes, address: bytes) -> int:
        """Serve until told to stop; returns an exit code of svlm_core.offload.launcher.

        Should the front's process end without a word, Ray ends its actors.
        """
        from svlm_core.offload.logs import log_to_stderr
        from svlm_core.offload.worker import serve

        decoded = msgspec.json.decode(config, type=WorkerConfig)
        log_to_stderr(decoded.log_json, decoded.log_level)
        with Bell() as bell:
            front = connect_to_front(msgspec.json.decode(address, type=Address), decoded.name, bell.ring)
            return serve(decoded, front, bell)


class RayProcess:
    """A worker that runs as an actor."""

    def __init__(self, ray: Any, actor: Any, running: Any) -> None:
        """Made by RayLauncher, of a handle and of what its `serve` will return; lives as long as this."""
        self._ray, self._actor, self._running = ray, actor, running

    def exit_code(self) -> int | None:
        """As of WorkerProcess."""
        if not self.wait(0.0):
            return None
        try:
            return int(self._ray.get(self._running))
        except self._ray.exceptions.RayError as error:
            LOG.error("an actor ended: %s", " ".join(str(error).split())[:500])
            return EXIT_ERROR

    def kill(self) -> None:
        """As of WorkerProcess."""
        self._ray.kill(self._actor)

    def wait(self, timeout_s: float) -> bool:
        """As of WorkerProcess."""
        ended, _ = self._ray.wait([self._running], timeout=timeout_s)
        return bool(ended)


class RayLauncher:
    """Starts workers as actors; a context manager."""

    def __init__(self, address: str, devices: tuple[str, ...]) -> None:
        """Join a cluster, or begin one on this machine alone.

        Args:
            address: of the cluster, as ray.init takes it; "" for this machine alone.
            devices: one worker each. Ray decides which GPU of which machine each is: their numbers are names.

        Raises:
            ConfigError: there is no such cluster, or it has not enough GPUs.
            MissingPackageError: Ray is not installed.
        """
        self._ray = ray = _load_ray()
        here: dict[str, Any] = {} if address else {"include_dashboard": False}
        try:
            ray.init(address=address or "local", namespace="svlm", logging_level=logging.WARNING, **here)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"--ray {address}: {' '.join(str(error).split())}") from None
        wanted = sum(_on_gpu(device) for device in devices)
        there = int(ray.cluster_resources().get("GPU", 0))
        if wanted > there:
            ray.shutdown()
            raise ConfigError(
                f"--devices {','.join(devices)}: the Ray cluster has {there} GPUs, not {wanted}"
            )

    def __enter__(self) -> RayLauncher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def listen(self) -> Iterator[RemoteLinks]:
        """As of Launcher; only the actors are let in."""
        with listen_to_workers(self._ray.util.get_node_ip_address()) as (links, self._address):
            yield links

    def start(self, config: WorkerConfig) -> RayProcess:
        """As of Launcher."""
        kind = config.device.partition(":")[0]  # its number is Ray's to choose
        told = msgspec.structs.replace(config, device=kind)
        gpus = int(_on_gpu(config.device))
        # no restarts by Ray: an actor that comes back must be told of its streams, so the front starts it
        kind_of_actor: Any = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Actor)
        actor = kind_of_actor.remote()
        return RayProcess(
            self._ray, actor, actor.serve.remote(*map(msgspec.json.encode, (told, self._address)))
        )

    def close(self) -> None:
        """Leave the cluster: what still runs of ours ends."""
        self._ray.shutdown()


def _load_ray() -> Any:
    """Ray, which changes the environment of whoever imports it: so not before it is wanted."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"--ray needs {error.name}: pip install 'svlm_ros[ray]'") from error
    return ray


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda")
