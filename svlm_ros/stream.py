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

"""The node that watches an image topic and publishes what it sees in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import time
from typing import Any

from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError, QueryError, SvlmError
from svlm_core.events import CommentaryEvent, KIND_ANSWER
from svlm_core.frames import Chunk, DROPPED_BROKEN, DROPPED_LINK, FrameLedger
from svlm_core.stream.query import Query
from svlm_ros.conversions import ns_from_stamp
from svlm_ros.diagnostics import Condition, DiagnosticsPublisher, findings
from svlm_ros.health import Health
from svlm_ros.image_qos import ImageLink, ImageSubscription
from svlm_ros.intake import DROPPED_DISABLED, DROPPED_STOPPED
from svlm_ros.lifetime import End
from svlm_ros.outputs import Outputs
from svlm_ros.parameters import ModelParameters, StreamNodeParameters
from svlm_ros.pictures import check_picture, SealedPicture
from svlm_ros.questions import Answers, read_query
from svlm_ros.remote import RemoteModel
from svlm_ros.services import StreamServices
from svlm_ros.settings import StreamSettings
from svlm_ros.supply import StreamSupply
from svlm_ros.worker import Worker

_CHECK_PERIOD_S = 0.25  # how often the image topic's publishers are looked at; discovery takes about as long
_DIAGNOSTICS_PERIOD_S = 1.0
_STOP_S = 3.0  # a chunk in work ends within one step; a step takes far less
_QUERY_DEPTH = 10

DEFAULT_NAMESPACE = "/svlm"


class StreamNode(LifecycleNode):
    """Image topic in, commentary out; a lifecycle node.

    Configured it has its topics and services, active it loads the model and then watches; deactivated it
    frees the model's memory. It subscribes to images once the model is ready: a camera that waits for
    subscribers then loses no frame, and no frame grows stale behind a model that loads.
    """

    def __init__(
        self,
        end: End,
        supply: StreamSupply,
        shared_model: ModelParameters | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        **node_arguments: Any,
    ) -> None:
        """Declare the parameters; `start` follows them.

        Args:
            end: ends the process with an exit code.
            supply: gives the stream of a model that runs in this process.
            shared_model: the model of all nodes of this process; None for a model of its own.
            namespace: where nothing from outside says another.
            node_arguments: of rclpy's LifecycleNode.

        Raises:
            ParameterException, ConfigError: a parameter is wrong.
        """
        self._worker: Worker | None = None  # a node that was only half made is destroyed too
        super().__init__(
            "stream_node",
            namespace=namespace,
            automatically_declare_parameters_from_overrides=True,
            **node_arguments,
        )
        self._end, self._supply = end, supply
        self._settings = StreamSettings(self, shared_model)
        self._state = "unconfigured"
        self._error: Exception | None = None  # of the transition in work
        self._failure = ""  # why inference ended by itself
        self._remote: RemoteModel | None = None  # while the node is active and the model is elsewhere
        self._close: list[Callable[[], object]] = []  # what cleaning up has to do, newest first

    def start(self) -> None:
        """Configure and activate, unless that is left to a lifecycle manager.

        Raises:
            SvlmError: a transition failed.
        """
        if not self._settings.own.autostart:
            self.get_logger().info("waits to be configured: autostart is false")
            return
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise self._error or ConfigError("the node could not be started")

    def destroy_node(self) -> None:
        """Stop the inference thread, then take the node down."""
        self._stop_worker()
        super().destroy_node()

    # transitions: rclpy swallows what they raise, so it is caught, logged and kept here

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make topics, services and diagnostics from the parameters."""
        return self._carry_out(self._configure, super().on_configure, state, "inactive")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to load the model, then to watch."""
        return self._carry_out(self._activate, super().on_activate, state, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop watching and free the model."""
        return self._carry_out(self._deactivate, super().on_deactivate, state, "inactive")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take topics, services and diagnostics down."""
        return self._carry_out(self._clean_up, super().on_cleanup, state, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take everything down, from any state, for good."""
        return self._carry_out(self._clean_up, super().on_shutdown, state, "finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take everything down; the node can be configured anew."""
        return self._carry_out(self._clean_up, super().on_error, state, "unconfigured")

    def _carry_out(
        self,
        action: Callable[[], None],
        rclpys_own: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
        goal: str,
    ) -> TransitionCallbackReturn:
        try:
            action()
            result = rclpys_own(state)
        except Exception as error:
            self._error = error
            if self._state != "unconfigured" or not self._settings.own.autostart:  # `start` says it
                self.get_logger().error(f"the node stays {self._state}: {error}")
            wrong = isinstance(error, SvlmError)  # the user can mend that and try again
            return TransitionCallbackReturn.FAILURE if wrong else TransitionCallbackReturn.ERROR
        if result == TransitionCallbackReturn.SUCCESS:
            self._state = goal
            self._settings.freeze("" if goal == "unconfigured" else goal)
        return result

    def _configure(self) -> None:
        own = self._settings.own
        self._images = ImageSubscription(self, own.image, own.image_transport, self._on_image)
        self._ledger = FrameLedger()
        self._health = Health(self._ledger)
        self._outputs = Outputs(self, partial=own.partial, annotate=own.annotate)
        self._answers = Answers(self)
        services = StreamServices(self, self, self._answers)
        queries = self.create_subscription(String, "query", self._on_query, _QUERY_DEPTH)
        self._diagnostics = DiagnosticsPublisher(self)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # a simulated clock may stand still, or never start
        timer = self.create_timer(_CHECK_PERIOD_S, self._check, clock=steady)
        backward = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
        )
        jumps = self.get_clock().create_jump_callback(backward, post_callback=self._on_jump)
        self._close = [
            jumps.unregister,
            lambda: self.destroy_timer(timer),
            self._diagnostics.close,
            lambda: self.destroy_subscription(queries),
            services.close,
            self._answers.close,
            self._outputs.close,
        ]

    def _activate(self) -> None:
        self._failure = ""
        self._shown = False
        model, camera = self._settings.model, self._settings.own.camera or self._images.topic
        if model.endpoint and not model.remote:
            self.get_logger().warning("endpoint is set, but backend is local: the model runs in this process")
        partial = self._settings.own.partial
        self._remote = RemoteModel(camera, partial, self.get_logger()) if model.remote else None
        self._worker = Worker(
            self._remote or self._supply,
            model,
            self._settings.overrides,
            camera,
            self._ledger,
            self._health,
            self._publish,
            self._outputs.hear,
            lambda: self.get_clock().now().nanoseconds,
            self.get_logger(),
        )
        self._settings.apply_to(self._worker.reconfigure)

    def _deactivate(self) -> None:
        self._images.close()
        self._stop_worker()

    def _clean_up(self) -> None:
        if self._worker is not None:
            self._deactivate()
        closing, self._close = self._close, []
        for close in closing:
            close()

    def _stop_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        self._remote = None
        self._settings.apply_to(None)
        if not worker.stop(_STOP_S):
            self.get_logger().info("the model is left when the step it is in, or its loading, ends")

    # what happens while it lives

    def _check(self) -> None:
        """Look after the worker and the image topic; say how things are."""
        worker, link = self._worker, None
        if worker is not None:
            if worker.failure:
                self._give_up(worker.failure)
                worker = self._worker
            elif worker.intake is not None:
                self._show_settings(worker)
                try:
                    link = self._images.check()
                except SvlmError as error:
                    self._give_up(str(error))
                    worker = self._worker
        found = findings(self._condition(worker, link))
        self._diagnostics.publish(found, time.monotonic(), _DIAGNOSTICS_PERIOD_S)

    def _give_up(self, reason: str) -> None:
        """End the process, so that whoever launched it sees; a managed node becomes inactive instead."""
        self._failure = reason
        if self._settings.own.autostart:
            self.get_logger().fatal(reason)
            self._end(1)
        else:
            self.trigger_deactivate()

    def _show_settings(self, worker: Worker) -> None:
        """Let the parameters show what the checkpoint brought, once it is known."""
        config = worker.config
        if config is None or self._shown:
            return
        self._shown = True
        given = self._settings.overrides
        self._settings.show({name: value for name, value in vars(config).items() if name not in given})

    def _condition(self, worker: Worker | None, link: ImageLink | None) -> Condition:
        config = (worker.config if worker else None) or StreamConfig()
        loading = worker is not None and worker.intake is None
        model, remote = self._settings.model, self._remote
        server = remote.state if remote else None
        tokens, capacity = worker.cache_tokens if worker else (0, 0)
        return Condition(
            state=self._state,
            model=(remote.model if remote else "") if model.remote else model.model,
            loading_s=time.monotonic() - worker.began_s if worker is not None and loading else None,
            failure=self._failure,
            enabled=self._settings.enabled,
            clock_waits=bool(self.get_parameter("use_sim_time").value)
            and self.get_clock().now().nanoseconds == 0,
            chunk_s=config.chunk_s,
            cache_tokens=tokens,
            capacity_tokens=capacity,
            link=link,
            health=self._health.snapshot(),
            endpoint=model.endpoint if model.remote else "",
            server=server,
            server_s=time.monotonic() - server.since_s if server else 0.0,
        )

    def _on_image(self, msg: Image | CompressedImage) -> None:
        """Look at the header and hand over; decoding and the model run elsewhere."""
        arrived_s = time.monotonic()
        try:
            self._take(msg, arrived_s)
        finally:
            self._health.called_back(time.monotonic() - arrived_s)

    def _take(self, msg: Image | CompressedImage, arrived_s: float) -> None:
        worker = self._worker
        intake = worker.intake if worker is not None else None
        if worker is None or intake is None:
            self._ledger.receive()
            self._ledger.drop(DROPPED_STOPPED)
            return
        if reason := self._why_not(worker.budget_s):
            intake.discard(reason)
            intake.refuse(reason)
            return
        try:
            size_px = check_picture(msg)
        except SvlmError as error:
            intake.refuse(DROPPED_BROKEN)
            self.get_logger().warning(f"dropped an image: {error}", throttle_duration_sec=5.0)
            return
        picture = SealedPicture(msg, size_px, self._stamp_ns(msg), arrived_s, self._images.topic)
        if restarted := intake.push(picture, msg.header.frame_id):
            self._say_restarted(restarted)

    def _why_not(self, budget_s: float) -> str:
        """Why images are not looked at now, as a reason of the ledger; "" if they are."""
        if not self._settings.enabled:
            return DROPPED_DISABLED
        # a shorter break may be over while the image is young enough to be sent
        return DROPPED_LINK if self._remote is not None and self._remote.down_s > budget_s else ""

    def _stamp_ns(self, msg: Image | CompressedImage) -> int:
        stamp_ns = ns_from_stamp(msg.header.stamp)
        if stamp_ns:
            return stamp_ns
        self.get_logger().warning("images carry no stamp; using the time of arrival instead", once=True)
        return self.get_clock().now().nanoseconds

    def _on_jump(self, jump: TimeJump) -> None:
        """The node's clock was set back: frames from its future belong to a run that is over."""
        intake = self._worker.intake if self._worker is not None else None
        if intake is not None and (restarted := intake.rewind(self.get_clock().now().nanoseconds)):
            self._say_restarted(restarted)

    def _say_restarted(self, reason: str) -> None:
        self._health.forget_ages()
        self.get_logger().warning(f"{reason}; a new stream begins")

    def _on_query(self, msg: String) -> None:
        try:
            self.ask(read_query(msg.data))
        except SvlmError as error:
            self._health.refused()
            self.get_logger().warning(f"a question was refused: {error}", throttle_duration_sec=1.0)

    def _publish(self, events: Sequence[CommentaryEvent], chunk: Chunk | None, frame_id: str) -> None:
        """On the inference thread."""
        self._outputs.publish(events, chunk, frame_id)
        self._answers.hear(events)
        for event in events:
            if event.kind == KIND_ANSWER:
                self._health.answered()

    # svlm_ros.services.Controls

    def parameters(self) -> StreamNodeParameters:
        """The node's parameters as they are now."""
        return self._settings.own

    def ask(self, query: Query) -> None:
        """Put a question to the stream.

        Raises:
            QueryError: it cannot be asked now.
        """
        if not self._settings.enabled:
            raise QueryError("the node is disabled; enable it first (service ~/enable)")
        self._running().ask(query)

    def hurry(self) -> None:
        """Have the chunk that is being filled understood now."""
        if intake := self._running().intake:
            intake.hurry()

    def reset(self, reason: str) -> None:
        """Begin a new stream.

        Raises:
            QueryError: there is none.
        """
        intake = self._running().intake
        if intake is None:
            raise QueryError("the model is not ready yet; there is nothing to reset")
        intake.restart(reason)
        self._say_restarted(reason)

    def _running(self) -> Worker:
        if self._worker is None:
            raise QueryError(f"the node is {self._state}; activate it first")
        return self._worker
