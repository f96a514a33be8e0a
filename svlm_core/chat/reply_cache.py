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

"""Replies of an endpoint on disk, by the hash of what was asked."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
import tempfile
from typing import Any

from svlm_core.errors import ConfigError


class ReplyCache:
    """One file for each request. Threads, and processes on one disk, may share the folder."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, made with the first reply."""
        self._folder = folder

    @staticmethod
    def key(url: str, body: dict[str, Any]) -> str:
        """The hash of a request: of where it goes and of all that it says."""
        text = json.dumps([url, body], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def get(self, key: str) -> dict[str, Any] | None:
        """The reply, None when there is none; a damaged file counts as none."""
        try:
            reply = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return reply if isinstance(reply, dict) else None

    def put(self, key: str, reply: dict[str, Any]) -> None:
        """Keep a reply; whole or not at all, whenever the power goes.

        Raises:
            ConfigError: the folder cannot be written.
        """
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False
            ) as file:
                json.dump(reply, file)
            os.replace(file.name, path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
