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

import pytest
from svlm_core.errors import SourceError
from svlm_core.sources.camera import Camera


@pytest.mark.parametrize("device", ["4321", "/dev/video4321"])
def test_a_camera_that_is_not_there_is_refused_by_name(device):
    with pytest.raises(SourceError, match=f"^camera {device} cannot be opened: there is no /dev/video4321"):
        Camera(device)


def test_a_device_that_is_no_camera_is_refused():
    with pytest.raises(
        SourceError, match="^camera /dev/null cannot be opened: /dev/null is not a video device"
    ):
        Camera("/dev/null")
