"""Every error Lockgate raises on purpose, as one tree.

::

    LockgateError
    ├── RetryLater                  another pod of the same Job may succeed
    │   ├── LockBusy                10  somebody else migrates, longer than we may wait
    │   ├── DatabaseUnreachable     11  no connection, or no longer one
    │   │   ├── DatabaseReadOnly    11  connected to a standby
    │   │   └── TooManySessions     11  the server has no session left for this role, for this database, or at all
    │   └── DatabaseBusy            12  DDL lock timeout, deadlock, serialization failure; attempts used up
    │       └── SchemaNotReady      12  `lockgate wait` ran out of time
    ├── Permanent                   the same input fails again: a human has to change something
    │   ├── MigrationFailed         20  a revision raised
    │   │   ├── HalfApplied         20  it had committed a part of what it does before that
    │   │   ├── NoProgress          20  env.py returned, the version table did not move
    │   │   └── RunTimeout          20  the run took longer than it may
    │   ├── InvalidConfiguration    21  flags, environment, files, URL
    │   │   ├── AlembicNotInstalled 21
    │   │   ├── DriverNotInstalled  21
    │   │   ├── UnsupportedDatabase 21  server too old, or not one that Lockgate knows
    │   │   ├── TransactionPooler   21  session locks mean nothing behind one
    │   │   └── InvalidRevisions    21  several heads, unknown target, broken graph
    │   ├── Refused                 22  a policy of the resource forbids it
    │   │   ├── BaselineMismatch    22  a schema without a version is not the one that was named
    │   │   ├── DatabaseAhead       22
    │   │   ├── DowngradeDenied     22  revisions would be taken back
    │   │   └── Irreversible        22  a revision that cannot be taken back
    │   └── CheckFailed             23  migrated, but not healthy
    ├── Interrupted                 30  SIGTERM; not counted as a failure
    └── ClusterError                 1  the API server said no (operator only)
        ├── Missing                     404
        ├── Conflict                    409, a resourceVersion that is no longer current
        ├── AlreadyExists               409 on create
        ├── Gone                        410
        ├── Forbidden                   401, 403
        ├── Invalid                     400, 422
        ├── Throttled                   429
        └── Unavailable                 5xx, time-outs, no connection

The numbers are process exit codes; the Job's podFailurePolicy is built from them. Each leaf knows its ``reason``
(CamelCase, for conditions and reports), its ``exit_code``, whether a retry helps (``retryable``), and carries a message
that says what happened, to what, and, in ``advice``, what to do.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlembicNotInstalled",
    "AlreadyExists",
    "BaselineMismatch",
    "CheckFailed",
    "ClusterError",
    "Conflict",
    "DatabaseAhead",
    "DatabaseBusy",
    "DatabaseReadOnly",
    "DatabaseUnreachable",
    "DowngradeDenied",
    "DriverNotInstalled",
    "Forbidden",
    "Gone",
    "HalfApplied",
    "Interrupted",
    "Invalid",
    "InvalidConfiguration",
    "InvalidRevisions",
    "Irreversible",
    "LockBusy",
    "LockgateError",
    "MigrationFailed",
    "Missing",
    "NoProgress",
    "Permanent",
    "Refused",
    "RetryLater",
    "RunTimeout",
    "SchemaNotReady",
    "Throttled",
    "TooManySessions",
    "TransactionPooler",
    "Unavailable",
    "UnsupportedDatabase",
    "exit_code_of",
]


class LockgateError(Exception):
    """Base of all errors of Lockgate: what happened and to what, then what to do about it."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, advice: str = "") -> None:
        """Take one sentence (or more) about what happened, and one about what a person should do."""
        self.message = message
        self.advice = advice
        super().__init__(f"{message} {advice}".strip())

    @property
    def reason(self) -> str:
        """The CamelCase word that conditions, events and reports use for this error: the class's name."""
        return type(self).__name__


class RetryLater(LockgateError):
    """Nothing is wrong with the input: the same run may succeed later."""

    retryable = True


class LockBusy(RetryLater):
    """Another process holds the migration lock of this database for longer than ``lock.wait``."""

    exit_code = 10


class DatabaseUnreachable(RetryLater):
    """The database refused the connection, did not answer, or dropped the connection."""

    exit_code = 11


class DatabaseReadOnly(DatabaseUnreachable):
    """The server is a standby (in recovery): it grants advisory locks but takes no DDL."""


class TooManySessions(DatabaseUnreachable):
    """The server takes no further session: of this role, of this database, or at all."""


class DatabaseBusy(RetryLater):
    """SQLSTATE 55P03, 40P01 or 40001 in every attempt: other sessions hold what the revision needs."""

    exit_code = 12


class SchemaNotReady(DatabaseBusy):
    """The schema that this image needs was not there before the time to wait was over."""


class Permanent(LockgateError):
    """The same input fails again; a human has to change something."""


class MigrationFailed(Permanent):
    """A revision, or env.py around it, raised; its transaction was rolled back."""

    exit_code = 20


class HalfApplied(MigrationFailed):
    """A revision committed in the middle, then raised: running it again would do a part of it twice."""


class NoProgress(MigrationFailed):
    """env.py returned without an error, yet the version table did not reach the target."""


class RunTimeout(MigrationFailed):
    """The run took longer than ``timeouts.run``; its statement was cancelled and rolled back."""


class InvalidConfiguration(Permanent):
    """Something that was said to Lockgate cannot be right: a flag, a variable, a file, a URL."""

    exit_code = 21


class AlembicNotInstalled(InvalidConfiguration):
    """The Python that runs the migration cannot import Alembic."""


class DriverNotInstalled(InvalidConfiguration):
    """The database URL names a driver that the image does not contain."""


class UnsupportedDatabase(InvalidConfiguration):
    """The server is older than Lockgate supports, or of a kind that it does not know."""


class TransactionPooler(InvalidConfiguration):
    """The connection goes through a transaction pooler, where a session lock protects nothing."""


class InvalidRevisions(InvalidConfiguration):
    """The revision graph or the target in it is ambiguous, unknown or broken."""


class Refused(Permanent):
    """A policy of the resource forbids what would have to be done."""

    exit_code = 22


class BaselineMismatch(Refused):
    """A database without a version lacks tables or columns of the revision that was named as its baseline."""


class DatabaseAhead(Refused):
    """The database contains revisions that this image does not know."""


class DowngradeDenied(Refused):
    """Revisions would have to be taken back, and nobody has allowed that."""


class Irreversible(Refused):
    """A revision that would have to be taken back cannot be: nothing was done."""


class CheckFailed(Permanent):
    """The migration is done, but a health check did not pass: the gate stays closed."""

    exit_code = 23


class Interrupted(LockgateError):
    """The process was asked to end (SIGTERM): the statement was cancelled and rolled back."""

    exit_code = 30
    retryable = True


class ClusterError(LockgateError):
    """The API server did not do what it was asked for."""


class Missing(ClusterError):
    """404: there is no such object."""


class Conflict(ClusterError):
    """409: the object changed since it was read."""

    retryable = True


class AlreadyExists(ClusterError):
    """409 on create: an object of this name is there already."""


class Gone(ClusterError):
    """410: the resourceVersion is too old to continue from."""

    retryable = True


class Forbidden(ClusterError):
    """401 or 403: the operator's account lacks a right, or an admission policy refused."""


class Invalid(ClusterError):
    """400 or 422: the API server rejects the object."""


class Throttled(ClusterError):
    """429: too many requests. ``retry_after``: seconds that the server wants to be left alone."""

    retryable = True

    def __init__(self, message: str, *, advice: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message, advice=advice)
        self.retry_after = retry_after


class Unavailable(ClusterError):
    """5xx, a time-out, or no connection to the API server."""

    retryable = True


def exit_code_of(reason: str) -> int | None:
    """Return the exit code of a run that ended with this reason; None for a reason that is not the runner's."""
    found = [LockgateError]
    for kind in found:
        found += kind.__subclasses__()
    return next((kind.exit_code for kind in found if kind.__name__ == reason), None)
