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

"""What the stream side subscribes with, against real publishers."""

from __future__ import annotations

from typing import Any

import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from svlm_ros.image_qos import ImageSubscription

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


@pytest.mark.parametrize(
    ("offers", "expected"),
    [([RELIABLE], RELIABLE), ([BEST_EFFORT], BEST_EFFORT), ([RELIABLE, BEST_EFFORT], BEST_EFFORT)],
)
def test_the_subscription_hears_every_publisher_whatever_they_offer(
    ear: Any, offers: list[ReliabilityPolicy], expected: ReliabilityPolicy
) -> None:
    publishers = [
        ear.node.create_publisher(Image, "front/image", QoSProfile(depth=1, reliability=offer))
        for offer in offers
    ]
    heard: list[Image] = []
    images = ImageSubscription(ear.node, "front/image", "raw", heard.append)
    assert ear.spin_until(lambda: ear.node.count_publishers(images.topic) == len(offers), 5.0)
    images.check()
    (info,) = ear.node.get_subscriptions_info_by_topic(images.topic)
    assert info.qos_profile.reliability == expected
    assert ear.spin_until(lambda: all(p.get_subscription_count() for p in publishers), 5.0)
    for number, publisher in enumerate(publishers, 1):
        publisher.publish(Image(width=number))
        assert ear.spin_until(lambda number=number: len(heard) == number, 5.0)  # only the newest is kept


def test_a_best_effort_publisher_that_comes_later_is_heard_too(ear: Any) -> None:
    ear.node.create_publisher(Image, "/image", QoSProfile(depth=1, reliability=RELIABLE))
    heard: list[Image] = []
    images = ImageSubscription(ear.node, "/image", "raw", heard.append)
    assert ear.spin_until(lambda: ear.node.count_publishers("/image") == 1, 5.0)
    images.check()
    late = ear.node.create_publisher(Image, "/image", QoSProfile(depth=1, reliability=BEST_EFFORT))
    assert ear.spin_until(lambda: ear.node.count_publishers("/image") == 2, 5.0)
    images.check()
    assert ear.spin_until(lambda: late.get_subscription_count() == 1, 5.0)
    late.publish(Image())
    assert ear.spin_until(lambda: len(heard) == 1, 5.0)


def test_nothing_is_subscribed_before_a_publisher_of_the_right_type_is_there(ear: Any) -> None:
    images = ImageSubscription(ear.node, "/image", "compressed", lambda _: None)
    assert images.topic == "/image/compressed"
    images.check()
    wrong = ear.node.create_publisher(Image, "/image/compressed", 1)  # not what the topic's name promises
    assert ear.spin_until(lambda: ear.node.count_publishers(images.topic) == 1, 5.0)
    images.check()
    assert ear.node.count_subscribers(images.topic) == 0
    ear.node.destroy_publisher(wrong)
    ear.node.create_publisher(CompressedImage, "/image/compressed", 1)
    assert ear.spin_until(lambda: ear.node.count_publishers(images.topic) == 1, 5.0)
    images.check()
    assert ear.node.count_subscribers(images.topic) == 1
