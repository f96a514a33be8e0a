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

"""A stream node as a process of its own, seen as its users see it over DDS."""

from __future__ import annotations

from pathlib import Path
import signal
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState, GetState
import numpy as np
from random_models import write_random_model
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from svlm_core.events import CommentaryEvent
from svlm_core.frames import NS_PER_S
from svlm_ros.conversions import compressed_from_rgb, image_from_rgb

START_LIMIT_S = 240.0  # torch's import on a busy machine
ANSWER_LIMIT_S = 60.0
EPOCH_S = 1_700_000_000
RELIABLE = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
IMAGE = "/front/image"
TOPICS = {"raw": IMAGE, "compressed": f"{IMAGE}/compressed"}


def write_talkative_model(folder: Path, max_new_tokens: int = 4, **text: Any) -> Path:
    """A small random checkpoint, which always has something to say; its frames need few tokens."""
    write_random_model(folder, **text)
    (folder / "stream.yaml").write_text(
        f"min_visual_tokens: 1\nmax_visual_tokens: 9\nmax_new_tokens: {max_new_tokens}\n"
        "text_sink_tokens: 16\ntext_window_tokens: 32\n"
    )
    return folder


class StreamRig:
    """One stream node, a camera for it, and what was heard of it."""

    def __init__(
        self,
        ear: Any,
        start: Any,
        *arguments: str,
        transport: str = "raw",
        qos: QoSProfile = RELIABLE,
        **parameters: Any,
    ) -> None:
        """Start the node with ROS arguments and parameters; nothing is waited for.

        Its subscription is deep, so that frames may come in a burst, unless the parameters say otherwise.
        """
        self.ear = ear
        self._qos = qos
        self._film_as(transport)
        self._changed: dict[str, Any] = {}
        self.lines = ear.subscribe(String, "/svlm/commentary")
        self.words = ear.subscribe(String, "/svlm/commentary/text")
        self.diagnostics = ear.subscribe(DiagnosticArray, "/diagnostics")
        depths = {f"qos_overrides.{topic}.subscription.depth": 2000 for topic in TOPICS.values()}
        settings = {"image": IMAGE, "image_transport": transport, "camera": "front", **depths}
        self.process = start("svlm_ros.stream_node", *arguments, **{**settings, **parameters})

    def wait_until_ready(self) -> StreamRig:
        """Wait for the subscription, which follows the model."""
        matched = self.publisher.get_subscription_count
        self.ear.spin_until(lambda: matched() or self._ended(), START_LIMIT_S)
        assert matched(), self.end()
        return self

    def renew(self, **parameters: Any) -> StreamRig:
        """Begin afresh, with other parameters than those it was started with; wait until it is ready."""
        if self.state() == "active":
            assert self.change_state("deactivate")
        if self.state() == "inactive":
            assert self.change_state("cleanup")
        for name, value in {**self._changed, **parameters}.items():
            assert self.set(name, value).successful, name
        self.ear.node.destroy_publisher(self.publisher)
        self._film_as(self.get("image_transport"))
        for heard in (self.lines, self.words, self.diagnostics):
            heard.clear()
        assert self.change_state("configure") and self.change_state("activate")
        return self.wait_until_ready()

    def publish(self, rgb: np.ndarray, stamp_ns: int) -> None:
        """Publish a picture."""
        if self.kind is Image:
            self.publisher.publish(image_from_rgb(rgb, stamp_ns, "lens"))
        else:
            self.publisher.publish(compressed_from_rgb(rgb, stamp_ns, "lens", 90))

    def film(self, at_s: float, width: int = 56, height: int = 56) -> None:
        """Publish one second of EPOCH_S + at_s: two frames."""
        for half in (0.0, 0.5):
            rgb = np.full((height, width, 3), 100, np.uint8)
            self.publish(rgb, EPOCH_S * NS_PER_S + round((at_s + half) * NS_PER_S))

    def hear(self, number: int) -> list[CommentaryEvent]:
        """Wait for this many events."""
        self.ear.spin_until(lambda: len(self.lines) >= number or self._ended(), ANSWER_LIMIT_S)
        assert len(self.lines) >= number, self.end()
        return self.events()

    def events(self) -> list[CommentaryEvent]:
        """All events so far."""
        return [CommentaryEvent.from_json(line.data) for line in self.lines]

    def status(self, name: str) -> DiagnosticStatus | None:
        """The latest diagnostics of this name."""
        for array in reversed(self.diagnostics):
            for status in array.status:
                if status.name.endswith(f"stream_node: {name}"):
                    return status
        return None

    def value(self, name: str, key: str) -> str:
        """One value of the latest diagnostics; "" if there is none."""
        status = self.status(name)
        return "" if status is None else {pair.key: pair.value for pair in status.values}.get(key, "")

    def frames_in(self) -> int:
        return int(self.value("images", "frames in") or 0)

    def settled(self) -> dict[str, int]:
        """Deactivate the node and read its books: in, used, pending and every reason of dropped frames."""
        assert self.change_state("deactivate")
        self.diagnostics.clear()
        assert self.ear.spin_until(lambda: self.status("images") is not None, ANSWER_LIMIT_S)
        status = self.status("images")
        assert status is not None
        keys = {pair.key: pair.value for pair in status.values if pair.key.startswith("frames ")}
        return {key.removeprefix("frames "): int(value) for key, value in keys.items()}

    def says(self, name: str, level: bytes, text: str = "", limit_s: float = ANSWER_LIMIT_S) -> bool:
        """Wait until the diagnostics have this level and message."""

        def now() -> bool:
            status = self.status(name)
            return status is not None and status.level == level and text in status.message

        return bool(self.ear.spin_until(now, limit_s))

    def call(self, kind: Any, service: str, request: Any, limit_s: float = ANSWER_LIMIT_S) -> Any:
        """Call a service of the node and wait for the response."""
        client = self.ear.node.create_client(kind, f"/svlm/stream_node/{service}")
        assert self.ear.spin_until(client.service_is_ready, START_LIMIT_S)
        future = client.call_async(request)
        assert self.ear.spin_until(future.done, limit_s), f"{service} did not answer"
        self.ear.node.destroy_client(client)
        return future.result()

    def trigger(self, service: str) -> Trigger.Response:
        """Call a std_srvs/Trigger service."""
        return self.call(Trigger, service, Trigger.Request())

    def set(self, name: str, value: Any) -> Any:
        """Set a parameter, until `renew` sets it back; the result says whether and why not."""
        self._changed.setdefault(name, self.get(name))
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        (result,) = self.call(SetParameters, "set_parameters", request).results
        return result

    def get(self, name: str) -> Any:
        """The value of a parameter."""
        (value,) = self.call(GetParameters, "get_parameters", GetParameters.Request(names=[name])).values
        return parameter_value_to_python(value)

    def state(self) -> str:
        """The lifecycle state."""
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def change_state(self, label: str) -> bool:
        """Trigger a lifecycle transition; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.label = label
        return bool(self.call(ChangeState, "change_state", request).success)

    def _film_as(self, transport: str) -> None:
        self.kind = Image if transport == "raw" else CompressedImage
        self.publisher = self.ear.node.create_publisher(self.kind, TOPICS[transport], self._qos)

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def end(self, number: signal.Signals = signal.SIGINT) -> str:
        """Stop the node; its whole output."""
        self.process.send_signal(number)
        output: str = self.process.communicate(timeout=90)[0]
        return output
