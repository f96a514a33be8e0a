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
