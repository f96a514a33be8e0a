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

"""Which settings a stream starts from: the checkpoint's own, under the user's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from svlm_core.config import StreamConfig
from svlm_core.model.adapter import StreamModel

# Released checkpoints carry no stream.yaml; they were trained on the reference's token stream.
_RELEASED_PREFIX = "streamingvlm"


def stream_config(model: StreamModel, *overrides: tuple[Mapping[str, Any], str]) -> StreamConfig:
    """Settings for a model.

    Args:
        model: its `stream.yaml`, or what is known of released StreamingVLM checkpoints, comes first.
        *overrides: (fields, where they come from), each winning over those before it.

    Raises:
        ConfigError: names the field and where it came from.
    """
    released = PurePath(model.name).name.lower().startswith(_RELEASED_PREFIX)
    config = StreamConfig(protocol="streamingvlm" if released else "svlm")
    config = config.replace(model.stream_defaults, f"{model.name}: stream.yaml")
    for fields, where in overrides:
        config = config.replace(fields, where)
    return config
