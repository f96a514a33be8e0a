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

"""Who may connect to a server that runs."""

from __future__ import annotations

from contextlib import suppress
import threading
import time

from svlm_core.offload.keys import KeyStore

_REFRESH_S = 0.2  # a revoked key is noticed within this time


class AllowList:
    """Who may connect, as the files say now: no restart is needed to let a key in or out."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._names: dict[bytes, str] = {}  # by public key
        self._looked_s: float | None = None
        self._files: list[tuple[str, int, int, int]] = []

    def name(self, public: bytes) -> str | None:
        """The name of a public key (z85); None when it is not allowed."""
        with self._lock:
            self._refresh()
            return self._names.get(public)

    def allows(self, name: str) -> bool:
        """Whether a key of this name is allowed."""
        with self._lock:
            self._refresh()
            return name in self._names.values()

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if self._looked_s is not None and now_s - self._looked_s < _REFRESH_S:
            return
        self._looked_s = now_s
        files = self._look()
        if files == self._files:
            return
        self._files, self._names = files, {}
        for name, public in self._store.allowed():
            self._names.setdefault(public, name)

    def _look(self) -> list[tuple[str, int, int, int]]:
        """What tells whether a file has come, gone or changed."""
        seen = []
        for path in sorted(self._store.allowed_folder.glob("*.pub")):
            with suppress(OSError):  # it went while we looked
                stat = path.stat()
                seen.append((path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return seen
