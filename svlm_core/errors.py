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

"""Errors a user can cause and mend. Each message is one line: what was wrong, where, and what to do."""


class SvlmError(Exception):
    """Base of every error that the command line and the ROS nodes report as one line, without a traceback."""


class ConfigError(SvlmError):
    """A configuration value or field name is wrong; the message names the field."""


class SourceError(SvlmError):
    """A video, folder, camera or bag cannot be opened, or broke while it was read."""


class ModelError(SvlmError):
    """A checkpoint cannot be found, is damaged, or belongs to a family that cannot be streamed."""


class CacheFullError(SvlmError):
    """The next chunk does not fit into the KV arena; the message names the settings that decide its size."""


class NumericsError(SvlmError):
    """The model gave NaN or infinity for one stream; that stream has forgotten everything and begins anew."""


class QueryError(SvlmError):
    """A question cannot be asked: it is empty or too long, or too many wait already."""


class EndpointError(SvlmError):
    """A model behind an HTTP endpoint cannot be asked: nobody is there, or it refuses, or gives no answer."""


class EngineClosedError(SvlmError):
    """A chunk was handed to a stream that has been closed, or whose engine has."""


class LinkError(SvlmError):
    """A chunk or a request did not get over the link to the server, or was lost there.

    Attributes:
        final: whether the next one has no better chances, until somebody mends what the message says.
    """

    def __init__(self, text: str, *, final: bool = False) -> None:
        """Say why."""
        super().__init__(text)
        self.final = final


class MissingPackageError(SvlmError, ImportError):
    """A package of an optional part of svlm is not installed; the message says how to install it."""
