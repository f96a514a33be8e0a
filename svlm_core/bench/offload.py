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

"""What the link adds to a chunk: a real `svlm serve` with keys on this machine, and the same model in-process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
import subprocess
import sys
from tempfile import TemporaryDirectory
import time
from typing import Any

import numpy as np
from svlm_core.bench.efficiency import Progress
from svlm_core.bench.workload import NoiseCamera
from svlm_core.config import StreamConfig
from svlm_core.errors import LinkError
from svlm_core.model.adapter import StreamModel
from svlm_core.offload import images
from svlm_core.offload.client import Client
from svlm_core.offload.curve import ClientKeys
from svlm_core.offload.keys import KeyStore, SERVER
from svlm_core.stream.session import StreamSession

LIMIT_MS = 2.0  # what the link may add to a chunk of LIMIT_FRAME_PX, pictures' coding not counted
LIMIT_FRAME_PX = (480, 640)
_ROBOT = "bench"
_START_LIMIT_S = 240.0
_END_LIMIT_S = 30.0
