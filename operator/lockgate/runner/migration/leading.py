"""What only the leader of a run does: migrate or take back under the fence, verify, record what is satisfied.

What most runs never do, adopting a schema and taking revisions back, is imported when it is done: it takes long.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from lockgate.errors import InvalidRevisions
from lockgate.runner.database import outcome
from lockgate.runner.database.tls import is_stricter
from lockgate.runner.entry.course import Course
from lockgate.runner.entry.environment import EnvironmentEntry
from lockgate.runner.entry.index_builds import IndexBuilds
from lockgate.runner.entry.upgrading import Upgrade
from lockgate.runner.health.health_checks import baseline
from lockgate.runner.ledger.half_applied import said_of
from lockgate.runner.migration.attempts import lock_timeout_ms
from lockgate.runner.migration.cancellation import end_abandoned, end_left_behind
from lockgate.runner.migration.handover import MIGRATE, PLAN_BACK, TAKE_BACK, VERIFY
from lockgate.runner.migration.migrate import migrate
from lockgate.runner.migration.monitor import Monitor
from lockgate.runner.migration.room import check_room
from lockgate.runner.migration.verification import VersionTables
from lockgate.runner.records import schema, unverified
from lockgate.runner.records.images import count_tables
from lockgate.runner.records.projects import Known, identity_of, record_project
from lockgate.runner.records.satisfied import Satisfied, forget, remember
from lockgate.runner.revisions import plan
from lockgate.runner.revisions.inputs import Inputs, written
from lockgate.runner.revisions.outline import digest_of_files
from lockgate.runner.revisions.project import Project, first_revisions, script_folders
from lockgate.runner.wording import counted

if TYPE_CHECKING:
    from lockgate.runner.database.connection import OwnConnection
    from lockgate.runner.migration.run import Run

__all__ = ["lead"]


def lead(run: Run, connection: OwnConnection, scope: int, fingerprint: str) -> str:
    """Bring the database to the target, holding the leader lock on ``connection``; return the reason of success."""
    project = run.project  # what is wrong with it is said before anything is touched
    database = run.database
    assert database is not None  # noqa: S101  # execute() has set it
    check_room(connection.backend.room(connection.rows), lambda: run.patiently(lambda: database.connect("probe")))
    warning = schema.ensure(connection)
    if warning:
        run.warnings.append(warning)
    if run.configuration.command == "baseline":
        return "Adopted" if _adopt(run, project, connection, fingerprint) else "NothingToDo"
    if run.stage == MIGRATE:
        _adopt(run, project, connection, fingerprint)
    before = run.before or baseline(connection)
    goes_back = run.configuration.command == "downgrade"
    if goes_back and run.stage == MIGRATE:  # before anything is kept of this run: it may be refused
        _plan_back(run, project, connection, fingerprint)
    run.account.known_tables = count_tables(connection)
    run.before = before if warning else unverified.begin(connection, scope, before)
    if not goes_back:
        _go_forward(run, project, connection, fingerprint)
    _go_back(run, project, connection, fingerprint)
    run.stage = VERIFY
    if not warning and not run.account.writes_history:
        run.warnings.append(schema.OTHER_ROLE)
    run.warnings += _less_strict(connection.sslmode, run.sessions.sslmodes)
    run.narrator.tell("verifying", "verifying", verifying=True, step="", statement="", waiting_for="")
    run.check(run.before)
    if not warning:
        unverified.end(connection, scope)
        if run.taken_over.get("stage") != VERIFY:  # what env.py goes by has been seen in another process
            _remember(run, project, connection, fingerprint)
        run.record_image(connection)
        if run.configuration.command == "migrate":
            _record(run, project, connection, fingerprint)
    return _reason(run)


def _less_strict(own: str, of_env: Collection[str]) -> tuple[str, ...]:
    """Say that env.py demands more of TLS than the sessions by the URL did, which its text did not tell."""
    return tuple(
        f"env.py connects with sslmode={mode}, and Lockgate's own sessions logged in by the URL, with sslmode={own}:"
        " put that into the URL, or say --connect Environment (spec.alembic.connect), so that they do as env.py does."
        for mode in sorted(of_env)
        if is_stricter(mode, own)
    )


def _go_forward(run: Run, project: Project, connection: OwnConnection, fingerprint: str) -> None:
    """Apply what is pending; where the database is ahead, plan what may be taken back."""
    if run.stage == MIGRATE:
        _migrate(run, project, connection, fingerprint, Upgrade(project, run.configuration, run.narrator))
        if run.account.is_ahead and run.configuration.downgrade == "Allow":
            run.stage = PLAN_BACK
    if run.stage == PLAN_BACK:
        _plan_back(run, project, connection, fingerprint)


def _go_back(run: Run, project: Project, connection: OwnConnection, fingerprint: str) -> None:
    """Take back what is planned, here or in the process that has handed over to this one."""
    handed = () if run.planned else run.taken_over.get("planned", ())
    if handed:
        from lockgate.runner.entry.downgrading import Undo  # noqa: PLC0415  # see the top of this file

        run.planned = tuple(Undo(**undo) for undo in handed)
    if run.planned and run.stage != VERIFY:
        run.stage = TAKE_BACK
        _take_back(run, project, connection, fingerprint)


def _reason(run: Run) -> str:
    if run.planned or run.account.undone:
        return "Downgraded"
    if run.account.is_ahead and run.configuration.command != "downgrade":
        return "DatabaseAhead"
    return "Migrated" if run.account.applied else "NothingToDo"


def _adopt(run: Run, project: Project, connection: OwnConnection, fingerprint: str) -> bool:
    """Take a schema without a version for what somebody says it is; return whether that was done."""
    insisted = run.configuration.adopted
    named = insisted or run.configuration.baseline
    if not named or (not insisted and _has_version(connection, project)):
        return False
    from lockgate.runner.migration.adopting import adopt  # noqa: PLC0415  # see the top of this file

    adopted = adopt(
        project,
        named,
        run.configuration.baseline_tables,
        lambda course: _migrate(run, project, connection, fingerprint, course),
        insist=bool(insisted),
    )
    if adopted is not None:
        run.account.adopt(adopted)
        run.narrator.tell("adopted", "" if insisted else str(adopted))  # which the report says as well
    return adopted is not None


def _has_version(connection: OwnConnection, project: Project) -> bool:
    """Look into the version table that the configuration names; env.py may have another one."""
    return bool(connection.backend.located(connection, project.version_schema, project.version_table)[1])


def _plan_back(run: Run, project: Project, connection: OwnConnection, fingerprint: str) -> None:
    """Plan for all version tables what is to be taken back, say it, and raise what speaks against it."""
    from lockgate.runner.entry.downgrading import Downgrade, refusal  # noqa: PLC0415  # see the top of this file

    looking = Downgrade(project, run.configuration, run.narrator)
    _migrate(run, project, connection, fingerprint, looking)
    run.planned = looking.planned
    total = len(run.planned)
    lines = (f"  {number}/{total} {undo}" for number, undo in enumerate(run.planned, 1))
    said = "\n".join((f"{counted(total, 'revision')} to take back:", *lines)) if total else ""
    run.narrator.tell("plan", said, more=run.details, pending=total)
    error = refusal(run.planned, run.configuration.downgrade)
    if error is not None:
        raise error


def _take_back(run: Run, project: Project, connection: OwnConnection, fingerprint: str) -> None:
    from lockgate.runner.entry.downgrading import Downgrade  # noqa: PLC0415  # see the top of this file

    forget(connection)
    run.account.revisions.clear()  # a report must name none that may be gone
    _migrate(run, project, connection, fingerprint, Downgrade(project, run.configuration, run.narrator, run.planned))


def _migrate(run: Run, project: Project, connection: OwnConnection, fingerprint: str, course: Course) -> None:
    database = run.database
    assert database is not None  # noqa: S101  # execute() has set it
    deadline = time.monotonic() + max(run.configuration.lock_wait - run.lock_wait, 1.0)

    def found_held(place: str, session: int) -> None:
        if place == fingerprint:  # elsewhere the same number is another session
            end_left_behind(database, run.sessions, session)

    def enter() -> EnvironmentEntry:
        attempts = run.configuration.ddl_lock_attempts
        patience = lock_timeout_ms(run.account.attempts, run.settings.lock_timeout_ms, attempts)
        run.sessions.settings = run.settings._replace(lock_timeout_ms=patience)
        return EnvironmentEntry(
            project=project,
            course=course,
            configuration=run.configuration,
            sessions=run.sessions,
            narrator=run.narrator,
            interruption=run.interruption,
            fence_wait=lambda: deadline - time.monotonic(),
            found_held=found_held,
        )

    builds = IndexBuilds(database, fingerprint, run.sessions, run.narrator)
    run.sessions.preparation = builds
    tables = VersionTables(connection, fingerprint, run.settings)
    try:
        with Monitor(database.connect, run.sessions, run.narrator):
            migrate(
                project=project,
                enter=enter,
                tables=tables,
                account=run.account,
                attempts=run.configuration.ddl_lock_attempts,
                interruption=run.interruption,
                narrator=run.narrator,
            )
    finally:
        tables.close()
        end_abandoned(database, run.sessions)
        if builds.dropped:
            run.warnings.append(f"Dropped what an earlier try left invalid: {', '.join(builds.dropped)}.")
        journal = run.sessions.journal
        run.warnings += said_of(journal.resumed, journal.unrecorded)
        journal.resumed, journal.unrecorded = {}, {}  # there may be another round


def _remember(run: Run, project: Project, connection: OwnConnection, fingerprint: str) -> None:
    """Record what this run leaves behind, where a run with the same input would do nothing."""
    inputs = _inputs(run, project, fingerprint)
    if inputs is None:
        return
    _, schema, table = run.account.tables[0]
    account = run.account
    revisions = tuple(sorted(account.revisions))
    text = written(inputs, run.secrets, secrets.token_hex(16))
    try:
        remember(connection, project.digest, Satisfied(schema, table, text, account.reached, account.target, revisions))
    except DBAPIError as error:
        run.warnings.append(f"The fast path is not recorded: {outcome.brief(error)}.")


def _record(run: Run, project: Project, connection: OwnConnection, fingerprint: str) -> None:
    """Record what only env.py knows of the project, for the commands that look without entering it."""
    place = connection.backend.place
    tables = [(schema, table) for database, schema, table in run.account.tables if database == fingerprint]
    try:
        known = Known(
            digest=project.digest,
            files=digest_of_files(project.folders),
            identity=identity_of(first_revisions(project.script)),
            target=run.configuration.target,
            heads=run.account.target,
            # Another role, or another URL, may find it in another schema, which is its own then.
            version_tables=tuple(("" if place(connection, "", one[1]) == one[0] else one[0], one[1]) for one in tables),
            graph=plan.graph(project.script),
        )
        record_project(connection, known)
    except (DBAPIError, InvalidRevisions) as error:
        run.warnings.append(f"What `lockgate status` goes by is not recorded: {outcome.brief(error)}.")


def _inputs(run: Run, project: Project, fingerprint: str) -> Inputs | None:
    """Return what env.py went by; None where the next run has to enter it again, and says why."""
    if run.configuration.fast_path == "Never":
        return None
    if len(run.account.tables) != 1 or run.account.tables[0][0] != fingerprint or run.account.is_ahead or run.planned:
        return None
    if not project.covers(script_folders(project.script)):
        return None  # env.py added folders of revisions, which the digest knows nothing of
    recorder = run.sessions.inputs
    addresses = [(url.host or "localhost", url.port or 5432) for url in run.account.urls]
    inputs = recorder.inputs(covered=project.folders, addresses=addresses, started=run.started_ns)
    if not recorder.work:
        return inputs
    reasons = "; ".join(recorder.work)
    run.narrator.tell("no_fast_path", f"env.py is entered also where nothing is pending: {reasons}")
    return None
