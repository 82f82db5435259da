"""What an answer of the API server means: an HTTP status and a body in, one leaf of `ClusterError` out. No I/O.

A message names the verb, the resource, namespace and name, and what the server said; the advice says what to do, for a
refused request which right is missing. The server's sentence is shortened: it may quote a rejected object.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from lockgate.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    Missing,
    Throttled,
    Unavailable,
)

__all__ = ["Call", "no_answer", "refusal"]

LONGEST = 600
"""Characters of the server's own sentence that are kept."""

UNTYPED = "failed to create typed patch object"
"""Server-side apply answers 500, with nothing else to tell it by, where the object does not fit the schema."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, in the words of an RBAC rule."""

    verb: str
    group: str
    resource: str
    """Plural, with the subresource: ``databasemigrations/status``."""
    namespace: str | None = None
    name: str = ""

    def __str__(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.resource} {where or 'in all namespaces'}"


def refusal(call: Call, status: int, body: bytes, retry_after: str | None = None) -> ClusterError:
    """Return the error for an answer that is not 2xx.

    ``body`` is a ``Status`` object, or plain text where no API is registered under the path (a missing CRD).
    ``retry_after`` is the header of that name, in seconds.
    """
    reason, said = _status(body)
    message = f"Cannot {call}: {said or 'no explanation'} (HTTP {status})."
    error: ClusterError
    match status:
        case 401 | 403:
            error = Forbidden(message, advice=_access(call, status, said))
        case 404:
            error = Missing(message, advice="" if reason else "Install the chart's CustomResourceDefinition.")
        case 409:
            error = AlreadyExists(message) if reason == "AlreadyExists" else Conflict(message)
        case 410:
            error = Gone(message)
        case 429:
            error = Throttled(message, advice="It is tried again later.", retry_after=_seconds(retry_after))
        case 500 if said.startswith(UNTYPED):
            error = Invalid(message, advice=_correction(said))
        case _ if status >= 500 or status == 408:
            error = Unavailable(message, advice="It is tried again; look at the API server if this stays.")
        case _:
            error = Invalid(message, advice=_correction(said))
    return error


def no_answer(call: Call, server: str, what: str) -> Unavailable:
    """Return the error for a request that got no answer: refused, cut off, or too late."""
    return Unavailable(f"Cannot {call}: {what} from the API server at {server}.", advice="It is tried again.")


def _status(body: bytes) -> tuple[str, str]:
    """Return ``reason`` and ``message`` of a Status object; no reason for anything else."""
    text = body.decode(errors="replace")
    try:
        status = json.loads(text)
    except ValueError:
        return "", _short(text)
    if not isinstance(status, dict):
        return "", _short(text)
    return str(status.get("reason") or ""), _short(str(status.get("message") or ""))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _seconds(retry_after: str | None) -> float:
    """Parse Retry-After; the API server only ever sends whole seconds, so anything else counts as one."""
    return float(retry_after) if retry_after and retry_after.isdigit() else 1.0


def _access(call: Call, status: int, said: str) -> str:
    if status == 401:
        return "The operator's token is not accepted: look at its ServiceAccount and at the clock of the node."
    if "ValidatingAdmissionPolicy" in said or "admission webhook" in said or "violates PodSecurity" in said:
        return "An admission policy of the cluster refuses it: change the object or the policy."
    if "exceeded quota" in said:
        return "Raise the namespace's ResourceQuota, or lower what the pod requests."
    if "being terminated" in said:
        return "The namespace is being deleted."
    right = f'the verb {call.verb} on {call.resource} in API group "{call.group}"'
    return f"Allow the operator's account {right}; the chart's roles do."


def _correction(said: str) -> str:
    if "not declared in schema" in said:
        return "The installed CustomResourceDefinition is older than the operator: apply the one of this release."
    return "Correct what the message names."
