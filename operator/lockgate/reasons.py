"""The machine-readable reasons that the operator puts into conditions and events, and what a person does about each.

The runner's own reasons are the class names in `lockgate.errors`; they arrive with the report and keep its advice.
A reason is part of the interface: people write alerts on it. Never change the meaning of one.
"""

from __future__ import annotations

from lockgate.decide.wording import sentence

__all__ = ["ADVICE", "STARTED_NOTHING", "advise"]

# Ready is True
MIGRATED = "Migrated"  # revisions were applied and verified
NOTHING_TO_DO = "NothingToDo"  # the database was at the target already
DATABASE_AHEAD = "DatabaseAhead"  # the database contains more than this image knows, and the policy accepts that
DOWNGRADED = "Downgraded"  # revisions were taken back and the result verified
REPORT_MISSING = "ReportMissing"  # the Job succeeded, its report is gone

# work is under way
STARTING = "Starting"  # a Job is about to be created, or its pod has not been placed yet
RUNNING = "Running"
WAITING = "Waiting"  # the runner waits: for the migration lock, for a lock on a table
TAKING_BACK = "TakingBack"  # the database is ahead, and the policy allows that what came later is taken back
VERIFYING = "Verifying"
RETRYING = "Retrying"  # an attempt failed, the Job starts another one
WAITING_FOR_OLDER_RUN = "WaitingForOlderRun"  # a Job of an earlier spec still works: it is never killed
DELETING = "Deleting"  # the resource is deleted; a Job is still at work
SUSPENDED = "Suspended"

# no container that migrates has started, and none will before something outside changes
SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105  # a reason, not a password
SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105  # a reason, not a password
CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
CONFIG_MAP_KEY_NOT_FOUND = "ConfigMapKeyNotFound"
IMAGE_NOT_AVAILABLE = "ImageNotAvailable"
POD_UNSCHEDULABLE = "PodUnschedulable"
POD_NOT_CREATED = "PodNotCreated"
POD_NOT_STARTED = "PodNotStarted"
CONTAINER_CANNOT_START = "ContainerCannotStart"
JOB_REJECTED = "JobRejected"
JOB_NAME_TAKEN = "JobNameTaken"
STATUS_REFUSED = "StatusRefused"  # the API server does not take the status: nothing is started that could not be told

# a run ended without success
PYTHON_NOT_FOUND = "PythonNotFound"
RUNNER_DID_NOT_RUN = "RunnerDidNotRun"  # the container ended well, and it was not the runner that ran in it
OUT_OF_MEMORY = "OutOfMemory"
RUN_TIMEOUT = "RunTimeout"
RETRIES_EXHAUSTED = "RetriesExhausted"
INIT_CONTAINER_FAILED = "InitContainerFailed"
POD_FAILED = "PodFailed"
JOB_VANISHED = "JobVanished"  # somebody deleted the Job before it ended

# events only
GATE_OPENED = "GateOpened"
UNGUARDED_PODS = "UnguardedPods"
POD_HELD = "PodHeld"  # about a pod: it wants what nothing on its way brings

STARTED_NOTHING = frozenset(
    {
        SECRET_NOT_FOUND,
        SECRET_KEY_NOT_FOUND,
        CONFIG_MAP_NOT_FOUND,
        CONFIG_MAP_KEY_NOT_FOUND,
        IMAGE_NOT_AVAILABLE,
        POD_UNSCHEDULABLE,
        POD_NOT_CREATED,
        POD_NOT_STARTED,
        CONTAINER_CANNOT_START,
    }
)
"""Where the phase is Blocked: these pass by themselves once their cause is gone."""

ADVICE = {
    SECRET_NOT_FOUND: "Create the Secret, or correct spec.database or spec.template; the run starts by itself then.",
    SECRET_KEY_NOT_FOUND: "Add the key to the Secret, or correct the key's name; the run starts by itself then.",
    CONFIG_MAP_NOT_FOUND: "Create the ConfigMap, or correct spec.template; the run starts by itself then.",
    CONFIG_MAP_KEY_NOT_FOUND: "Add the key to the ConfigMap, or correct spec.template; the run starts by itself then.",
    IMAGE_NOT_AVAILABLE: "Push the image, correct its name, or give spec.template.spec.imagePullSecrets.",
    POD_UNSCHEDULABLE: "Make room, or change resources, nodeSelector or tolerations in spec.template.",
    POD_NOT_CREATED: "Correct what it names; the Job controller tries again by itself.",
    CONTAINER_CANNOT_START: "Correct spec.template.",
    JOB_REJECTED: "Correct spec.template, or ask who runs the cluster for the quota or policy that refuses the Job.",
    STATUS_REFUSED: "Apply the CustomResourceDefinition of the operator's release; it is tried again every minute.",
    PYTHON_NOT_FOUND: "Set spec.alembic.python to the path of the image's Python.",
    RUNNER_DID_NOT_RUN: "Set spec.alembic.python to the path of the image's Python.",
    OUT_OF_MEMORY: "Raise resources.limits.memory of the container migrate in spec.template.spec.containers.",
    RUN_TIMEOUT: "Raise spec.timeouts.run; that also starts the next try.",
    RETRIES_EXHAUSTED: "Remove the cause, then set the annotation lockgate.dev/retry to a new value for another try.",
    INIT_CONTAINER_FAILED: "Read the log of that container, then set the annotation lockgate.dev/retry to a new value.",
    POD_FAILED: "Read the log of the container migrate, then set the annotation lockgate.dev/retry to a new value.",
    REPORT_MISSING: "Pods that ask for a revision stay held; set the annotation lockgate.dev/retry to a new value.",
}


def advise(reason: str, message: str) -> str:
    """Return the message with what to do about it, unless it says so already."""
    advice = ADVICE.get(reason, "")
    return message if not advice or advice in message else f"{sentence(message)} {advice}"
