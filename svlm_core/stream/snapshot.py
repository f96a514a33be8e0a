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

"""A stream on disk: what an hour-long stream needs to go on after a restart, to the same words.

One safetensors file: the live part of the KV cache, the head's un-rotated keys, the random state; its header
has the segments and settings as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

from safetensors import safe_open, SafetensorError
from safetensors.torch import save_file
from svlm_core.errors import ConfigError
from svlm_core.stream.session import StreamSession
from torch import Tensor

_VERSION = "1"
_BESIDE = "beside."  # begins the names of the caller's tensors


def save_stream(
    session: StreamSession,
    file: Path,
    beside: Mapping[str, Tensor] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a stream between two chunks; the file is replaced at once.

    Args:
        session: has understood a chunk at least.
        file: where.
        beside: tensors that the caller wants to find again,
        notes: and JSON's types.
    """
    tensors, plain = session.freeze()
    tensors |= {_BESIDE + name: tensor for name, tensor in (beside or {}).items()}
    partial = file.with_name(f"{file.name}.partial")
    header = {"version": _VERSION, "stream": json.dumps(plain), "notes": json.dumps(dict(notes or {}))}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, header)
    partial.replace(file)


def load_stream(session: StreamSession, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Let a session go on from a file, instead of beginning anew.

    Args:
        session: of the same model and settings as the one that was saved.
        file: what save_stream wrote.

    Returns:
        What was saved beside it, and the notes.

    Raises:
        ConfigError: the file is damaged, or of another version, model or settings.
    """
    try:
        with safe_open(file, "pt") as stored:
            header = stored.metadata() or {}
            if header.get("version") != _VERSION:
                raise ConfigError(f"{file}: not a stream of this version of svlm; begin anew")
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        session.thaw(tensors, json.loads(header["stream"]))
        notes: dict[str, Any] = json.loads(header["notes"])
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{file}: not a stream of this model ({error})") from error
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    return {name[len(_BESIDE) :]: tensors[name] for name in tensors if name.startswith(_BESIDE)}, notes
