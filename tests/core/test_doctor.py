from __future__ import annotations

import subprocess
import sys


def test_the_doctor_can_say_that_torch_is_missing() -> None:
    """Nothing else runs without torch; this must."""
    check = (
        "import sys; sys.modules['torch'] = sys.modules['rclpy'] = None\n"
        "from svlm_core.cli.main import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stderr) == (0, "")
    report = {line.split()[1]: line for line in ended.stdout.splitlines()}
    assert report["torch"].startswith("no")
    assert report["torch"].endswith("nothing runs: pip install torch")
    assert report["cuda"].endswith("cannot be looked for without torch")
    assert report["rclpy"].startswith("no")
    assert report["python"].startswith("yes")
