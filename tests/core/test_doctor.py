from __future__ import annotations

import subprocess
import sys


def test_the_doctor_can_say_that_torch_is_missing() -> None:
    """No model runs without torch; this must."""
    check = (
        "import sys; sys.modules['torch'] = sys.modules['rclpy'] = None\n"
        "from svlm_core.cli.main import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stderr) == (0, "")
    report = {line.split()[1]: line for line in ended.stdout.splitlines()}
    assert report["torch"].startswith("no")
    assert report["torch"].endswith("no model runs here: pip install 'svlm_ros[model]'")
    assert report["cuda"].endswith("cannot be looked for without torch")
    assert report["rclpy"].startswith("no")
    assert report["python"].startswith("yes")
