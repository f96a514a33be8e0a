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

"""A camera as a process: `python dds_camera.py TOPIC raw|compressed RELIABILITY WIDTH HEIGHT HZ SECONDS`.

Sends one picture again and again, with the time it is sent as its stamp, once somebody subscribes. Prints how
many it sent.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from svlm_ros.conversions import compressed_from_rgb, image_from_rgb, stamp_from_ns

_LAST_S = 1.0  # a reliable writer that leaves takes what was not acknowledged with it


def main(
    topic: str, transport: str, reliability: str, width: str, height: str, hz: str, length_s: str
) -> int:
    rclpy.init()
    node = rclpy.create_node("dds_camera")
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability.upper()])
    rgb = np.random.default_rng(0).integers(0, 256, (int(height) // 8, int(width) // 8, 3), np.uint8)
    rgb = np.ascontiguousarray(rgb.repeat(8, axis=0).repeat(8, axis=1))
    raw = transport == "raw"
    msg = image_from_rgb(rgb, 0, "lens") if raw else compressed_from_rgb(rgb, 0, "lens", 85)
    publisher = node.create_publisher(Image if raw else CompressedImage, topic, qos)
    while not publisher.get_subscription_count():
        time.sleep(0.01)
    began_s, sent = time.monotonic(), 0
    while sent < float(hz) * float(length_s):
        time.sleep(max(0.0, began_s + sent / float(hz) - time.monotonic()))
        msg.header.stamp = stamp_from_ns(time.time_ns())
        publisher.publish(msg)
        sent += 1
    time.sleep(_LAST_S)
    print(sent)
    node.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
