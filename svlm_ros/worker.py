"""The one thread that runs the model: it loads the checkpoint, then turns chunks into events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from svlm_core.errors import NumericsError, SourceError, SvlmError
from svlm_core.events import CommentaryEvent
from svlm_core.frames import FrameLedger
from svlm_ros.intake import DROPPED_BROKEN, Intake
from svlm_ros.lifetime import End
from svlm_ros.parameters import StreamNodeParameters

if TYPE_CHECKING:
    from svlm_core.stream.commentator import Commentator

_JOIN_S = 3.0  # a chunk takes far less


class Worker:
    """Loads the model off the executor and feeds every chunk of an Intake to it."""

    def __init__(
        self,
        parameters: StreamNodeParameters,
        overrides: Mapping[str, Any],
        camera: str,
        publish: Callable[[CommentaryEvent], None],
        end: End,
        logger: RcutilsLogger,
    ) -> None:
        """Start the thread.

        Args:
            parameters: which model, and where it runs.
            overrides: StreamConfig fields that the user set; they win over the checkpoint's own.
            camera: name of the camera in the events.
            publish: takes each event, on this thread.
            end: called with 1 when the model cannot be loaded or the thread fails.
            logger: the node's.
        """
        self._parameters = parameters
        self._overrides = overrides
        self._camera = camera
        self._publish = publish
        self._end = end
        self._logger = logger
        self._ledger = FrameLedger()
        self._stopped = threading.Event()
        self.intake: Intake | None = None  # None until the model is ready
        self._commentator: Commentator | None = None
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the step it is busy with; a model that still loads is not waited for."""
        self._stopped.set()
        if self.intake is not None:
            self.intake.close()
            if self._commentator is not None:
                self._commentator.cancel()
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            self._comment()
        except SvlmError as error:
            self._logger.fatal(str(error))
            self._end(1)
        except Exception as error:
            self._logger.fatal(f"{type(error).__name__} in the inference thread: {error}")
            self._end(1)
            raise

    def _comment(self) -> None:
        began_s = time.monotonic()
        name = self._parameters.model
        self._logger.info(f"loading model {name}")
        # torch takes seconds to import: doing it here leaves the node answering meanwhile
        from svlm_core.model.load import load_model
        from svlm_core.model.precision import affordable_dtype
        from svlm_core.stream.commentator import Commentator
        from svlm_core.stream.defaults import stream_config
        from svlm_core.stream.session import StreamSession

        device = self._parameters.device
        dtype = affordable_dtype(name, self._parameters.dtype, device)
        model = load_model(name, dtype=dtype, device=device)
        config = stream_config(model, (self._overrides, "ROS parameters"))
        session = StreamSession(model, config)
        intake = Intake(config, self._ledger, self._camera)
        self._logger.info(f"model {name} ready after {time.monotonic() - began_s:.1f} s")
        self._commentator = commentator = Commentator(session, self._ledger, self._camera)
        self.intake = intake

        stream = 0
        while not self._stopped.is_set() and (chunk := intake.take()) is not None:
            commentator.frame_id = chunk.frame_id
            if chunk.stream != stream:
                stream = chunk.stream
                for event in commentator.restart(chunk.frame_id, chunk.reason):
                    self._publish(event)
            try:
                events = commentator.take(chunk, chunk.arrived_s)
            except (SourceError, NumericsError) as error:  # the next ones may be better
                self._ledger.drop(DROPPED_BROKEN, len(chunk.frames))
                self._logger.warning(str(error), throttle_duration_sec=5.0)
                continue
            for event in events:
                self._publish(event)
        self._logger.info(f"ended: {commentator.summary()}")
