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

"""A stream node's parameters: declared, checked at every change, shown as they are in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError, SvlmError
from svlm_ros.parameters import (
    EngineNodeParameters,
    GivenParameters,
    ModelParameters,
    parameter_value,
    StreamNodeParameters,
)

# Settings that the user gave, by field of StreamConfig; raises SvlmError when a running stream refuses them.
Apply = Callable[[Mapping[str, Any]], None]

_ENGINE_IMAGE = "image_raw"  # in the camera's own namespace
_STREAM_FIELDS = frozenset(setting.name for setting in fields(StreamConfig))


class StreamSettings:
    """What the user set.

    Parameters may change while the node is unconfigured; those marked `live` at any time.
    """

    def __init__(self, node: Node, shared_model: ModelParameters | None) -> None:
        """Declare the parameters and watch them.

        Args:
            node: made with `automatically_declare_parameters_from_overrides=True`.
            shared_model: the model of all nodes of this process; None gives the node parameters for its own.

        Raises:
            ParameterException, ConfigError: a parameter is wrong.
        """
        self._node = node
        self._shared_model = shared_model
        given = GivenParameters(node)
        owners: list[type] = [StreamNodeParameters, StreamConfig]
        self._chosen: dict[str, Any] = {}
        if shared_model is None:
            owners.append(ModelParameters)
            self._chosen |= given.declare(ModelParameters, read_only=False)
        else:
            given.leave(ModelParameters)
            given.leave(EngineNodeParameters)
            self._chosen["image"] = _ENGINE_IMAGE
        self._chosen |= given.declare(StreamNodeParameters, read_only=False)
        self._chosen |= given.declare(StreamConfig, show_defaults=False, read_only=False)
        given.refuse_misspelt()
        self._rules = {setting.name: setting for owner in owners for setting in fields(owner)}
        self._frozen = ""  # the lifecycle state that keeps most parameters as they are
        self._apply: Apply | None = None
        self._showing = False
        if shared_model is not None:
            self.show({"image": self.own.image})
        node.add_on_set_parameters_callback(self._review)

    @property
    def own(self) -> StreamNodeParameters:
        """The node's own parameters, as they are now."""
        return StreamNodeParameters(**self._of(StreamNodeParameters))

    @property
    def enabled(self) -> bool:
        """Whether the node looks and speaks; asked for every image."""
        return bool(self._chosen.get("enabled", True))

    @property
    def model(self) -> ModelParameters:
        """The model to load."""
        return self._shared_model or ModelParameters(**self._of(ModelParameters))

    @property
    def overrides(self) -> dict[str, Any]:
        """The fields of StreamConfig that the user set."""
        return self._of(StreamConfig)

    def freeze(self, state: str) -> None:
        """Refuse changes to parameters that are not live, because the node is in this state; "" ends that."""
        self._frozen = state

    def apply_to(self, apply: Apply | None) -> None:
        """Let a running stream decide about changes of its settings from now on."""
        self._apply = apply

    def show(self, values: Mapping[str, Any]) -> None:
        """Show these values as the parameters', without taking them for the user's wish."""
        self._showing = True
        try:
            self._node.set_parameters([Parameter(name, value=value) for name, value in values.items()])
        finally:
            self._showing = False

    def _of(self, owner: type) -> dict[str, Any]:
        names = {setting.name for setting in fields(owner)}
        return {name: value for name, value in self._chosen.items() if name in names}

    def _review(self, parameters: Sequence[Parameter[Any]]) -> SetParametersResult:
        """Take a change over, or say why not."""
        if self._showing:
            return SetParametersResult(successful=True)
        try:
            changes = {
                parameter.name: parameter_value(self._rules[parameter.name], parameter.value)
                for parameter in parameters
                if parameter.name in self._rules  # use_sim_time and qos_overrides are others' business
            }
            self._refuse_frozen(changes)
            if self._apply is not None and not _STREAM_FIELDS.isdisjoint(changes):
                self._apply({name: value for name, value in changes.items() if name in _STREAM_FIELDS})
        except SvlmError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._chosen |= changes
        return SetParametersResult(successful=True)

    def _refuse_frozen(self, changes: Mapping[str, Any]) -> None:
        fixed = [name for name in changes if not self._rules[name].metadata.get("live")]
        if self._frozen and fixed:
            raise ConfigError(
                f"{', '.join(fixed)} cannot change while the node is {self._frozen}; clean it up first "
                f"(ros2 lifecycle set {self._node.get_fully_qualified_name()} cleanup) or restart it"
            )
