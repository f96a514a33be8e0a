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

"""The link between a front and workers on other machines: TCP with CURVE, under keys of one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import logging

from svlm_core.offload.launcher import WorkerKeys
import zmq
from zmq.auth.thread import ThreadAuthenticator

LOG = logging.getLogger(__name__)

_DOMAIN = "svlm-workers"


@contextmanager
def listen_to_workers(backend: zmq.Socket, host: str) -> Iterator[tuple[str, WorkerKeys]]:
    """Bind the front's socket for those who have the keys that are made here, and nobody else.

    Args:
        backend: not bound yet, the only socket with keys in its context.
        host: address of this machine that workers reach.

    Yields:
        The endpoint, and what a worker needs to connect to it.
    """
    public, secret = zmq.curve_keypair()
    server, backend.curve_secretkey = zmq.curve_keypair()
    backend.curve_server, backend.zap_domain = True, _DOMAIN.encode()
    backend.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without this, nobody to ask means everybody may
    door = ThreadAuthenticator(backend.context, log=LOG)
    door.start()
    try:
        door.configure_curve_callback(_DOMAIN, _OneKey(public))
        backend.bind(f"tcp://{host}:*")
        endpoint = backend.getsockopt_string(zmq.LAST_ENDPOINT)
        yield endpoint, WorkerKeys(server.decode(), public.decode(), secret.decode())
    finally:
        door.stop()


class _OneKey:
    """Says who may connect."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a public key (z85) may."""
        return key == self._public
