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

"""The services of a stream node: ~/enable, ~/reset and ~/describe."""

from __future__ import annotations

from typing import Protocol

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger
from svlm_core.errors import SvlmError
from svlm_core.stream.query import Query
from svlm_ros.parameters import StreamNodeParameters
from svlm_ros.questions import Answers


class Controls(Protocol):
    """What the services do to a stream node; a method raises SvlmError when the node cannot do it now."""

    def parameters(self) -> StreamNodeParameters:
        """The node's parameters as they are now."""

    def reset(self, reason: str) -> None:
        """Begin a new stream."""

    def ask(self, query: Query) -> None:
        """Put a question to the stream."""

    def hurry(self) -> None:
        """Have what is seen now understood now."""


class StreamServices:
    """Made when the node is configured, taken down when it is cleaned up."""

    def __init__(self, node: Node, controls: Controls, answers: Answers) -> None:
        """Offer the services of `node`."""
        self._node = node
        self._controls = controls
        self._answers = answers
        # A description is waited for while images come in; no other callback may have to wait with it.
        self._group = ReentrantCallbackGroup()
        self._services = [
            node.create_service(SetBool, "~/enable", self._enable),
            node.create_service(Trigger, "~/reset", self._reset),
            node.create_service(Trigger, "~/describe", self._describe, callback_group=self._group),
        ]

    def close(self) -> None:
        """Offer them no longer."""
        for service in self._services:
            self._node.destroy_service(service)

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        (result,) = self._node.set_parameters([Parameter("enabled", value=request.data)])
        response.success = result.successful
        response.message = result.reason or ("enabled" if request.data else "disabled")
        return response

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self._controls.reset("reset by the service ~/reset")
            response.success, response.message = True, "the stream begins anew"
        except SvlmError as error:
            response.message = str(error)
        return response

    async def _describe(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        parameters = self._controls.parameters()
        query_id = self._answers.new_id("describe")
        try:
            query = Query(parameters.describe_prompt, query_id)
            answer = self._answers.wait_for(query_id)
            self._controls.ask(query)
            self._controls.hurry()
        except SvlmError as error:
            self._answers.give_up(query_id)
            response.message = str(error)
            return response
        timer = self._node.create_timer(
            parameters.describe_timeout_s,
            lambda: self._answers.give_up(query_id),
            callback_group=self._group,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        try:
            text = await answer
        finally:
            self._node.destroy_timer(timer)
        response.success = text is not None
        response.message = text if text is not None else self._why_not(parameters.describe_timeout_s)
        return response

    def _why_not(self, timeout_s: float) -> str:
        return f"no answer within {timeout_s:g} s (do images come? see /diagnostics)"
