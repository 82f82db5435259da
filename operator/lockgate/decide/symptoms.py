"""What a migration pod's state means: why it has not started, or why it ended without a report. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lockgate import reasons
from lockgate.decide.views import INJECTOR, MIGRATE, ContainerView, PodView
from lockgate.decide.wording import meaningful, one_line, sentence

__all__ = ["Symptom", "why_ended", "why_interrupted", "why_not_started"]

IMAGE_REASONS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
CONFIG_ERRORS = (
    (r'^secret "[^"]*" not found', reasons.SECRET_NOT_FOUND),
    (r"^couldn't find key .* in Secret ", reasons.SECRET_KEY_NOT_FOUND),
    (r'^configmap "[^"]*" not found', reasons.CONFIG_MAP_NOT_FOUND),
    (r"^couldn't find key .* in ConfigMap ", reasons.CONFIG_MAP_KEY_NOT_FOUND),
)
"""The kubelet's words behind CreateContainerConfigError (pkg/kubelet/kubelet_pods.go)."""
CANNOT_START = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff")
BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*":?\s*(ErrImagePull:\s*)?')
RUNTIME_REASONS = ("StartError", "ContainerCannotRun")
"""The message is the container runtime's then, not the end of the log."""
EXEC = re.compile(r"^.*?(?=exec: )", re.DOTALL)
"""What containerd and runc put in front of the one thing that matters."""
OWN_DEADLINE = "DeadlineExceeded"
"""The reason that the kubelet gives to a pod which has reached ``spec.activeDeadlineSeconds``."""
KILLED = (137, 143)
"""The exit codes of a process that SIGKILL or SIGTERM has ended."""
NO_PROGRAM = ("executable file not found", "no such file or directory")


@dataclass(frozen=True, slots=True)
class Symptom:
    """A reason and a sentence, born together."""

    reason: str
    message: str


def why_not_started(pod: PodView) -> Symptom | None:
    """Say what keeps the container that migrates from starting, or None while nothing is known to be wrong."""
    if pod.unschedulable:
        return _advised(reasons.POD_UNSCHEDULABLE, f"No node takes pod {pod.name}: {one_line(pod.unschedulable, 400)}")
    for container in (*pod.others, *([pod.migrate] if pod.migrate else [])):
        if container.waiting:
            symptom = _waiting(pod, container)
            if symptom is not None:
                return symptom
    return None


def why_ended(pod: PodView) -> Symptom:
    """Say why a pod ended that left no report."""
    container = pod.migrate
    if container is not None and container.reason == "OOMKilled":
        return _advised(reasons.OUT_OF_MEMORY, f"The container migrate of pod {pod.name} was killed: out of memory.")
    if pod.reason == OWN_DEADLINE:
        return Symptom(reasons.RUN_TIMEOUT, why_interrupted(pod))
    if pod.reason or pod.disruption or (pod.deleting and pod.exit_code in (None, *KILLED)):
        return Symptom(reasons.POD_FAILED, why_interrupted(pod))
    if container is None or not container.terminated:
        return _without_end(pod)
    if container.exit_code in (126, 127) or container.reason in RUNTIME_REASONS:
        return _no_program(pod, container)
    words = meaningful(container.message)
    text = f"The container migrate of pod {pod.name} ended with exit code {container.exit_code} and left no report"
    return _advised(reasons.POD_FAILED, f"{text}: {words}" if words else text)


def why_interrupted(pod: PodView) -> str:
    """Say what ended a pod from outside (a deadline of its own, the node, a drain, a deletion), or return nothing."""
    if pod.reason == OWN_DEADLINE:
        return (
            f"Pod {pod.name} was ended by its own activeDeadlineSeconds: leave that out of spec.template.spec, where"
            " spec.timeouts.run bounds the run."
        )
    if pod.reason:
        words = ": ".join(filter(None, (pod.reason, one_line(pod.message, 300))))
        return sentence(f"Pod {pod.name} was ended by its node: {words}")
    if pod.disruption:
        return sentence(f"Pod {pod.name} was ended by the cluster: {one_line(pod.disruption, 300)}")
    return f"Pod {pod.name} was deleted." if pod.deleting else ""


def _waiting(pod: PodView, container: ContainerView) -> Symptom | None:
    words = one_line(container.message, 400)
    if container.reason in IMAGE_REASONS:
        detail = BACK_OFF.sub("", words) or container.reason
        whose = "the operator's own image" if container.name == INJECTOR else f"the image of container {container.name}"
        return _advised(reasons.IMAGE_NOT_AVAILABLE, f"Pod {pod.name} cannot get {whose}: {detail}")
    if container.reason == "CreateContainerConfigError":
        for pattern, reason in CONFIG_ERRORS:
            if re.search(pattern, container.message):
                return _advised(reason, f"Pod {pod.name} cannot start: {words}")
    if container.reason in CANNOT_START and not (container.name == MIGRATE and container.restarted):
        detail = words or container.reason
        return _advised(
            reasons.CONTAINER_CANNOT_START, f"Container {container.name} of pod {pod.name} cannot start: {detail}"
        )
    return None


def _without_end(pod: PodView) -> Symptom:
    failed = next((c for c in pod.others if c.terminated and c.exit_code), None)
    if failed is None:
        return _advised(reasons.POD_FAILED, f"Pod {pod.name} is gone: {pod.phase}")
    text = f"The init container {failed.name} of pod {pod.name} ended with exit code {failed.exit_code}."
    return _advised(reasons.INIT_CONTAINER_FAILED, text)


def _no_program(pod: PodView, container: ContainerView) -> Symptom:
    """Quote the container runtime; what a program that did start printed before 126 or 127 may be anything."""
    runtime = container.message if container.reason in RUNTIME_REASONS else ""
    words = one_line(EXEC.sub("", runtime).removesuffix(": unknown"), 300)
    if container.exit_code == 127 or any(text in runtime for text in NO_PROGRAM):
        text = f"The image of pod {pod.name} has no such Python"
        return _advised(reasons.PYTHON_NOT_FOUND, f"{text}: {words}" if words else text)
    text = f"The container migrate of pod {pod.name} could not start"
    return _advised(reasons.CONTAINER_CANNOT_START, f"{text}: {words or f'exit code {container.exit_code}'}")


def _advised(reason: str, message: str) -> Symptom:
    return Symptom(reason, reasons.advise(reason, sentence(message)))
