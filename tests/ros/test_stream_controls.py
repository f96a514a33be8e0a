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

"""Questions, services and parameters of a running stream node."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from stream_rig import EPOCH_S, StreamRig
from svlm_core.frames import NS_PER_S


def test_questions_are_answered_with_their_ids(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew()
    questions = rig.ear.node.create_publisher(String, "/svlm/query", 10)
    assert rig.ear.spin_until(questions.get_subscription_count, 10.0)
    rig.film(0)
    rig.hear(1)
    questions.publish(String(data=json.dumps({"id": "agent-7", "text": "what is red?"})))
    questions.publish(String(data="and in plain words?"))
    questions.publish(String(data='{"text": 5}'))
    questions.publish(String(data="x" * 5000))
    assert rig.ear.spin_until(lambda: rig.value("commentary", "questions refused") == "2", 10.0)
    for second in (1, 2, 3):
        rig.film(second)
        rig.hear(second + 1)
    kinds = [(event.kind, event.query_id) for event in rig.events()]
    assert kinds == [("commentary", ""), ("answer", "agent-7"), ("answer", ""), ("commentary", "")]
    assert rig.ear.spin_until(lambda: len(rig.words) == 4, 5.0)
    assert [word.data for word in rig.words] == [event.text for event in rig.events()]


def test_describe_answers_about_now_and_says_why_it_cannot(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew(describe_timeout_s=1.0)
    assert rig.change_state("deactivate")
    for service in ("describe", "reset"):
        early = rig.trigger(service)
        assert not early.success and "the node is inactive" in early.message
    assert rig.change_state("activate")
    rig.wait_until_ready()
    late = rig.trigger("describe")
    assert not late.success and "within 1 s" in late.message and "images" in late.message
    rig.film(0)  # asked already, so this is the answer to a question whose asker went away
    assert rig.hear(1)[0].query_id == "describe-1"
    assert rig.set("describe_timeout_s", 60.0).successful
    stamp_ns = (EPOCH_S + 1) * NS_PER_S
    rig.publish(np.full((56, 56, 3), 9, np.uint8), stamp_ns)  # half a second of images
    assert rig.ear.spin_until(lambda: rig.frames_in() == 3, 10.0)
    now = rig.trigger("describe")
    event = rig.hear(2)[1]
    assert now.success and now.message == event.text
    assert (event.kind, event.stamp_newest_ns, event.frames_used) == ("answer", stamp_ns, 1)
    rig.film(5)
    assert rig.hear(4)[3].kind == "commentary"


def test_a_description_is_waited_for_while_other_callbacks_run(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew(describe_timeout_s=60.0)
    clients = [rig.ear.node.create_client(Trigger, "/svlm/stream_node/describe") for _ in range(2)]
    assert rig.ear.spin_until(lambda: all(client.service_is_ready() for client in clients), 10.0)
    futures = [client.call_async(Trigger.Request()) for client in clients]
    assert rig.set("temperature", 0.5).successful  # answered although nobody has described anything yet
    for second in range(20):  # DDS keeps no order between services: a request may come after some images
        rig.film(second)
        rig.hear(second + 1)
        if rig.ear.spin_until(lambda: all(future.done() for future in futures), 1.0):
            break
    answers = {event.query_id: event.text for event in rig.events()}
    assert {future.result().message for future in futures} == set(answers.values())
    assert set(answers) == {"describe-0", "describe-1"}
    third = clients[0].call_async(Trigger.Request())
    assert rig.change_state("deactivate")  # lets whoever waits go
    assert rig.ear.spin_until(third.done, 10.0)


def test_enable_and_reset(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew()
    rig.film(0)
    rig.hear(1)
    assert rig.call(SetBool, "enable", SetBool.Request(data=False)).success
    assert rig.says("commentary", b"\x00", "disabled")
    rig.film(1)
    assert rig.ear.spin_until(lambda: rig.value("images", "frames dropped: disabled") == "2", 10.0)
    assert not rig.trigger("describe").success
    assert rig.get("enabled") is False  # the parameter and the service are one
    assert rig.call(SetBool, "enable", SetBool.Request(data=True)).success
    rig.film(2)
    gap, event = rig.hear(3)[1:]
    assert (gap.kind, event.kind, event.chunk_index) == ("gap", "commentary", 2)
    assert gap.frames_dropped == {"disabled": 2}
    assert rig.trigger("reset").success
    reset = rig.hear(4)[3]  # at once, though no image came
    assert (reset.kind, reset.text) == ("reset", "reset by the service ~/reset")
    rig.film(3)
    assert rig.hear(5)[4].chunk_index == 0


def test_parameters_change_live_or_are_refused_with_the_reason(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew()
    rig.film(0)
    rig.hear(1)
    for name, value in (("prompt", "Watch the door."), ("top_k", 50), ("max_new_tokens", 2)):
        assert rig.set(name, value).successful, name
    rig.film(1)
    shorter = rig.hear(2)[1]
    assert shorter.kind == "commentary" and len(shorter.text) <= 2  # two tokens of a byte each
    refusals: list[tuple[str, Any, str]] = [
        ("image", "/other", "cannot change while the node is active"),
        ("chunk_s", 2.0, "chunk_s cannot change while the node is active"),
        ("temperature", 99.0, "10"),
        ("top_p", "high", "type"),
        ("policy", "forever", "policy"),
        ("max_new_tokens", 0, "1"),
    ]
    for name, value, words in refusals:
        result = rig.set(name, value)
        assert not result.successful and words in result.reason, (name, result.reason)
    rig.renew(chunk_s=2.0)
    rig.film(10)
    rig.film(11)
    assert rig.hear(1)[0].frames_used == 4
    assert rig.change_state("deactivate") and rig.change_state("cleanup")
    for name, value, words in (("policy", "forever", "streaming"), ("image_transport", "fax", "compressed")):
        result = rig.set(name, value)  # nothing runs, a value must be right all the same
        assert not result.successful and words in result.reason
