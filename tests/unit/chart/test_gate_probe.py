"""What `helm test` concludes from what the API server sends back."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lockgate.gate_probe import GATE, NO_RESOURCE, Answer, judge, probe, probe_pod


class Server:
    """An API server with or without policies, which refuses the first requests."""

    def __init__(self, *, policy: bool, bypass_respected: bool = True, strips: bool = False, settles_after: int = 0):
        self.policy = policy
        self.bypass_respected = bypass_respected
        self.strips = strips
        self.settles_after = settles_after
        self.asked = 0

    def __call__(self, pod: dict[str, Any]) -> Answer:
        self.asked += 1
        stored = copy.deepcopy(pod)
        if self.strips:
            stored["spec"]["schedulingGates"] = []
        elif self.policy and self.asked > self.settles_after:
            bypassed = self.bypass_respected and "lockgate.dev/bypass" in stored["metadata"]["annotations"]
            stored["spec"]["schedulingGates"] = [] if bypassed else [{"name": GATE}]
        return Answer(201, stored)


def refuse(_: dict[str, Any]) -> Answer:
    return Answer(403, {"kind": "Status", "message": "pods is forbidden: exceeded quota"})


def unreachable(_: dict[str, Any]) -> Answer:
    return Answer(0, {"message": "ConnectionRefusedError: refused"})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_gate_is_at_work_where_an_uncovered_pod_is_held_and_a_bypassed_one_is_not() -> None:
    verdict = judge("policy", Server(policy=True))

    assert verdict.at_work
    assert verdict.sentence.startswith("The gate is at work")


def test_a_pod_that_would_start_uncovered_fails_the_test() -> None:
    verdict = judge("policy", Server(policy=False))

    assert not verdict.at_work
    assert "would start" in verdict.sentence


def test_a_bypass_that_does_not_work_fails_the_test() -> None:
    verdict = judge("policy", Server(policy=True, bypass_respected=False))

    assert not verdict.at_work
    assert "bypass" in verdict.sentence


def test_static_mode_says_that_the_label_alone_holds_nothing() -> None:
    verdict = judge("static", Server(policy=False))

    assert verdict.at_work
    assert "The label alone holds nothing" in verdict.sentence


def test_static_mode_says_so_where_a_policy_acts_all_the_same() -> None:
    assert "another release" in judge("static", Server(policy=True)).sentence


def test_static_mode_fails_where_something_takes_the_gate_off() -> None:
    assert not judge("static", Server(policy=False, strips=True)).at_work


@pytest.mark.parametrize("mode", ["policy", "static"])
def test_what_the_api_server_says_is_repeated_where_it_refuses(mode: Any) -> None:
    verdict = judge(mode, refuse)

    assert not verdict.at_work
    assert "403: pods is forbidden: exceeded quota" in verdict.sentence


def test_no_answer_is_not_taken_for_an_open_gate() -> None:
    verdict = judge("policy", unreachable)

    assert not verdict.at_work
    assert "no answer: ConnectionRefusedError" in verdict.sentence


def test_the_question_is_asked_again_until_the_policies_act() -> None:
    clock = Clock()

    verdict = probe("policy", Server(policy=True, settles_after=4), seconds=30, clock=clock, sleep=clock.sleep)

    assert verdict.at_work
    assert 0 < clock.now < 30


def test_the_question_is_given_up_when_the_time_is_over() -> None:
    clock = Clock()

    verdict = probe("policy", Server(policy=False), seconds=30, clock=clock, sleep=clock.sleep)

    assert not verdict.at_work
    assert clock.now == pytest.approx(30)


def test_nobody_can_create_the_resource_that_the_probe_names() -> None:
    assert probe_pod()["metadata"]["labels"][GATE] == NO_RESOURCE
    assert 50 < len(NO_RESOURCE) <= 63  # longer than a resource's name may be, and still a label's value
