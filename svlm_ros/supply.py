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

"""Where a node's stream comes from: a model of its own, or an engine that all nodes of the process share.

Loading a model takes seconds to minutes and blocks; whoever opens a stream does it on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import gc
import threading
from typing import Any, Protocol, TYPE_CHECKING

from svlm_ros.parameters import ModelParameters

if TYPE_CHECKING:  # torch takes seconds to import
    from svlm_core.model.adapter import StreamModel
    from svlm_core.stream.commentator import Stream
    from svlm_core.stream.engine import Engine

Wanted = Callable[[], bool]

_WHERE = "ROS parameters"


class Lease:
    """A stream on loan.

    Attributes:
        stream: gone once closed.
    """

    def __init__(self, stream: Stream, leave: Callable[[], object], free: Callable[[], object]) -> None:
        """Made by StreamSupply.open.

        Args:
            stream: the stream.
            leave: ends it.
            free: called when the stream is no longer referred to from here.
        """
        self.stream = stream
        self._leave = leave
        self._free = free

    def close(self) -> None:
        """Give the stream back, once; whoever calls has dropped all other references to it."""
        self._leave()
        del self.stream, self._leave
        self._free()


class StreamSupply(Protocol):
    """Gives streams on loan."""

    def open(self, model: ModelParameters, overrides: Mapping[str, Any], wanted: Wanted) -> Lease | None:
        """Load what is needed and begin a stream; blocks.

        Args:
            model: the checkpoint.
            overrides: StreamConfig fields that the user set; they win over the checkpoint's own.
            wanted: asked after waiting for others and before loading.

        Returns:
            The stream; None if it was not wanted any more.

        Raises:
            SvlmError: the model cannot be loaded, or a setting is wrong.
        """


class OwnModel:
    """A model for one stream at a time: `open` waits until the stream before is given back.

    A node that is deactivated and activated again while its model loads so never holds two models.
    """

    def __init__(self) -> None:
        """Load nothing yet."""
        self._in_use = threading.Lock()

    def open(self, model: ModelParameters, overrides: Mapping[str, Any], wanted: Wanted) -> Lease | None:
        """As StreamSupply.open."""
        self._in_use.acquire()
        lease = None
        try:
            if wanted():
                lease = self._load(model, overrides)
        finally:
            if lease is None:
                self._in_use.release()
        return lease

    def _load(self, model: ModelParameters, overrides: Mapping[str, Any]) -> Lease:
        from svlm_core.stream.defaults import stream_config
        from svlm_core.stream.session import StreamSession

        loaded = _load(model)
        session = StreamSession(loaded, stream_config(loaded, (overrides, _WHERE)))
        return Lease(session, lambda: None, self._return)

    def _return(self) -> None:
        _free()
        self._in_use.release()


class SharedEngine:
    """One model and one engine for all streams of the process; loaded for the first, freed after the last."""

    def __init__(self) -> None:
        """Load nothing yet."""
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._model: StreamModel | None = None
        self._streams = 0

    def open(self, model: ModelParameters, overrides: Mapping[str, Any], wanted: Wanted) -> Lease | None:
        """As StreamSupply.open; all streams of the process name the same model."""
        from svlm_core.stream.defaults import stream_config
        from svlm_core.stream.engine import Engine

        with self._lock:
            if not wanted():
                return None
            if self._engine is None or self._model is None:
                self._model = _load(model)
                self._engine = Engine(self._model)
            try:
                stream = self._engine.open(stream_config(self._model, (overrides, _WHERE)))
                self._streams += 1
                return Lease(stream, stream.close, self._return)
            finally:
                self._close_unused()

    def _return(self) -> None:
        with self._lock:
            self._streams -= 1
            self._close_unused()

    def _close_unused(self) -> None:
        if self._streams or self._engine is None:
            return
        self._engine.close()
        self._engine = self._model = None
        _free()


def _load(model: ModelParameters) -> StreamModel:
    from svlm_core.model.load import load_model
    from svlm_core.model.precision import affordable_dtype

    dtype = affordable_dtype(model.model, model.dtype, model.device)
    return load_model(model.model, dtype=dtype, device=model.device)


def _free() -> None:
    """Give the memory back: modules refer to each other in circles, and CUDA keeps what was freed."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
