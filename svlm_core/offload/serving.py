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

"""What a server is told by whoever starts it: one dataclass, validated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import os
from pathlib import Path
import re
from typing import Any

from svlm_core.errors import ConfigError

DEFAULT_BIND = "tcp://127.0.0.1:5577"
DEFAULT_METRICS = "127.0.0.1:9577"
STREAMS_PER_DEVICE = (
    8  # the engine's usual batch; `svlm bench capacity` says what a device holds in real time
)


@dataclass(frozen=True)
class ServeConfig:
    """Settings of `svlm serve`; messages name the option.

    Attributes:
        bind: endpoint for robots.
        keys_dir: see svlm_core.offload.keys; None for none.
        unencrypted: go beyond this machine without keys.
        model: a folder, a hub id, or the embedded checkpoint's name.
        devices: one worker each.
        dtype: of the weights.
        quantize: "" for no.
        threads: CPU threads of a worker, 0 for torch's own choice.
        settings: (fields of StreamConfig, where they come from), each winning over those before.
        max_sessions: streams that there is room for; 0 for STREAMS_PER_DEVICE on each device.
        metrics: HOST:PORT of the pages /metrics, /live and /ready; "" for none, None for
            DEFAULT_METRICS if nobody else has it.
        log_level: debug, info, warning or error.
        log_json: whether lines of the log are JSON.
        journal: what sessions have said; None keeps it in memory.
        keep_cache_s: how long a robot may be away before its stream's memory is given up.
        keep_text_s: the same for what the stream has said.
        messages_per_s: most messages of one key, on average; twice that many at once.
        bytes_per_s: most bytes of one key, on average; twice that many at once.
        drain_s: time for chunks in work when the server is told to end.
    """

    bind: str = DEFAULT_BIND
    keys_dir: Path | None = None
    unencrypted: bool = False
    model: str = "tiny"
    devices: tuple[str, ...] = ("cpu",)
    dtype: str = "float32"
    quantize: str = ""
    threads: int = 0
    settings: tuple[tuple[Mapping[str, Any], str], ...] = field(default=())
    max_sessions: int = 0
    metrics: str | None = ""
    log_level: str = "info"
    log_json: bool = False
    journal: Path | None = None
    keep_cache_s: float = 120.0
    keep_text_s: float = 24 * 3600.0
    messages_per_s: float = 1000.0
    bytes_per_s: float = 256e6
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        """Raise ConfigError that names the option."""
        if not self.devices or len(set(self.devices)) != len(self.devices) or not all(self.devices):
            raise ConfigError(f"--devices takes distinct devices, got {','.join(self.devices)!r}")
        if self.threads < 0:
            raise ConfigError(f"--threads must not be negative, got {self.threads}")
        if self.max_sessions < 0:
            raise ConfigError(f"--max-sessions must not be negative, got {self.max_sessions}")
        for name in ("messages_per_s", "bytes_per_s", "keep_cache_s", "keep_text_s", "drain_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"--{name.replace('_', '-')} must be above 0, got {getattr(self, name)}")

    @property
    def room(self) -> int:
        """Streams that there is room for."""
        return self.max_sessions or STREAMS_PER_DEVICE * len(self.devices)


def default_journal(bind: str) -> Path | None:
    """Where the journal of a server lies; None for an endpoint that nobody can come back to.

    Args:
        bind: its endpoint.
    """
    if bind.endswith((":*", ":0")):
        return None
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    name = re.sub(r"[^\w.-]+", "-", bind.replace("*", "any"), flags=re.ASCII)
    return Path(state).expanduser() / "svlm" / f"{name}.journal"
