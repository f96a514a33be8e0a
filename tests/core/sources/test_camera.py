import pytest

from svlm_core.errors import SourceError
from svlm_core.sources.camera import Camera


def test_a_camera_that_is_not_there_is_refused_by_name():
    with pytest.raises(SourceError, match="^camera 4321 cannot be opened: "):
        Camera(4321)
