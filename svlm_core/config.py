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

"""The one description of a stream's settings: a dataclass, validated once, loaded from YAML.

Precedence, lowest first: the defaults here, the checkpoint's own `stream.yaml`, the user's YAML file,
options given on the command line or as ROS parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
import difflib
from pathlib import Path
from typing import Any

from svlm_core.errors import ConfigError
import yaml

POLICIES = ("streaming", "full", "window", "window-recompute", "native-positions", "last-frames")
PROTOCOLS = ("svlm", "streamingvlm")
DTYPES = ("float32", "bfloat16", "float16")
QUANTIZATIONS = ("int8", "fp8")


def _setting(default: Any, text: str, **metadata: Any) -> Any:
    return field(default=default, metadata={"help": text, **metadata})


@dataclass(frozen=True)
class StreamConfig:
    """Everything that decides what one stream says. Units stand in the names; help texts in the metadata.

    Fields with `live` in their metadata may change while a stream runs.
    """

    policy: str = _setting(
        "streaming",
        "what stays in the KV cache: streaming (sinks + recent vision + long text), full (everything), "
        "window (fills up, then restarts empty), window-recompute (the recent chunks, computed anew for each "
        "chunk), native-positions (as streaming, but positions grow for ever), last-frames (only the current "
        "chunk)",
        choices=POLICIES,
    )
    protocol: str = _setting(
        "svlm",
        "token stream: svlm, or streamingvlm (exactly what the released StreamingVLM checkpoints "
        "were trained on)",
        choices=PROTOCOLS,
    )
    chunk_s: float = _setting(1.0, "length of one chunk, seconds", minimum=0.1, maximum=60.0)
    fps: float = _setting(2.0, "frames per second the model sees", minimum=0.1, maximum=60.0)
    vision_window_s: float = _setting(
        16.0,
        "seconds of vision that stay in the cache, the current chunk included",
        minimum=0.1,
        maximum=3600.0,
    )
    text_sink_tokens: int = _setting(
        512, "first tokens of the old text that stay forever", minimum=0, maximum=65536
    )
    text_window_tokens: int = _setting(
        512, "newest tokens of the old text that stay", minimum=0, maximum=65536
    )
    full_capacity_tokens: int = _setting(
        8192, "cache size for policy full, which otherwise grows without end", minimum=256, maximum=1 << 20
    )
    min_visual_tokens: int = _setting(
        100, "smallest size a frame is scaled to, merged tokens", minimum=1, maximum=16384
    )
    max_visual_tokens: int = _setting(
        768, "largest size a frame is scaled to, merged tokens", minimum=1, maximum=16384
    )
    time_text: bool = _setting(True, "write Time=a-bs before each chunk's frames")
    system_prompt: str = _setting("You are a helpful assistant.", "the system turn")
    prompt: str = _setting(
        "", "what the user asks of the commentary, for example: Commentate on this match", live=True
    )
    previous_text: str = _setting("", "text the stream begins with, as if said before")
    max_query_tokens: int = _setting(
        64,
        "most tokens of a question put to the running stream; the cache has room for one in every chunk, "
        "0 takes no questions",
        minimum=0,
        maximum=4096,
    )
    max_new_tokens: int = _setting(20, "most tokens one chunk may say", minimum=1, maximum=1024, live=True)
    chunk_budget_s: float = _setting(
        0.0,
        "wall time from a live chunk's last frame to its last word; a phrase that takes longer goes on in "
        "the next chunk; 0 takes chunk_s. Recorded sources wait for the model and have no budget",
        minimum=0.0,
        maximum=3600.0,
        live=True,
    )
    temperature: float = _setting(
        0.9, "sampling temperature; 0 takes the likeliest token", minimum=0.0, maximum=10.0, live=True
    )
    top_p: float = _setting(
        1.0,
        "nucleus sampling: keep the likeliest tokens up to this mass",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    top_k: int = _setting(
        0, "keep only the k likeliest tokens; 0 keeps all", minimum=0, maximum=1 << 20, live=True
    )
    repetition_penalty: float = _setting(
        1.05,
        "divides the score of every token already in the context; 1 is off",
        minimum=0.1,
        maximum=10.0,
        live=True,
    )
    sampling_seed: int = _setting(0, "seed of the sampling", minimum=0, maximum=(1 << 63) - 1, live=True)

    def __post_init__(self) -> None:
        """Raise ConfigError that names the first field whose value is wrong."""
        for setting in fields(self):
            _check(setting.name, getattr(self, setting.name), type(setting.default), setting.metadata)
        if self.min_visual_tokens > self.max_visual_tokens:
            raise ConfigError(
                f"min_visual_tokens ({self.min_visual_tokens}) is larger than "
                f"max_visual_tokens ({self.max_visual_tokens})"
            )
        if self.vision_window_s < self.chunk_s:
            raise ConfigError(
                f"vision_window_s ({self.vision_window_s}) is shorter than chunk_s ({self.chunk_s})"
            )
        frames = self.chunk_s * self.fps
        if abs(frames - round(frames)) > 1e-6 or frames < 1:
            raise ConfigError(
                "chunk_s x fps must be a whole number of frames, "
                f"got {self.chunk_s} x {self.fps} = {frames:g}"
            )

    @property
    def window_chunks(self) -> int:
        """Chunks whose vision stays in the cache, the current one included."""
        return max(1, int(self.vision_window_s / self.chunk_s + 1e-6))

    def replace(self, values: Mapping[str, Any], where: str) -> StreamConfig:
        """A copy with some fields changed.

        Args:
            values: field name -> value.
            where: what the values came from, for messages ("config/stream.yaml").

        Raises:
            ConfigError: a name is not a field (the nearest one is suggested) or a value is wrong.
        """
        known = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; the fields are {', '.join(known)}"
                raise ConfigError(f"{where}: unknown field {name!r}{hint}")
        try:
            return StreamConfig(**{**known, **values})
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def check_live_change(self, other: StreamConfig) -> None:
        """Make sure that a running stream of these settings can take over others.

        Raises:
            ConfigError: fields differ that may not change while a stream runs; names them.
        """
        differing = [f for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)]
        fixed = [f.name for f in differing if not f.metadata.get("live")]
        if fixed:
            live = ", ".join(f.name for f in fields(self) if f.metadata.get("live"))
            raise ConfigError(f"{', '.join(fixed)} cannot change while a stream runs; these can: {live}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping of field names to values")
    return data


def _check(name: str, value: Any, kind: type, rules: Mapping[str, Any]) -> None:
    number = kind in (int, float)
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (number and isinstance(value, bool)):  # a bool is an int to Python
        raise ConfigError(f"{name} must be a {kind.__name__}, got {value!r}")
    if "choices" in rules and value not in rules["choices"]:
        raise ConfigError(f"{name} must be one of {', '.join(rules['choices'])}; got {value!r}")
    if number and not rules["minimum"] <= value <= rules["maximum"]:
        raise ConfigError(f"{name} must lie between {rules['minimum']} and {rules['maximum']}, got {value!r}")
