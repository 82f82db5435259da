"""The pure decisions of the runner: what an entry into env.py amounts to, what errors mean, who is ahead of whom."""

from __future__ import annotations

import socket
import ssl
from types import SimpleNamespace

import psycopg2
import pytest
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from lockgate.errors import (
    DatabaseAhead,
    DatabaseBusy,
    DatabaseReadOnly,
    DatabaseUnreachable,
    DriverNotInstalled,
    InvalidConfiguration,
    InvalidRevisions,
    LockBusy,
    MigrationFailed,
    NoProgress,
    TooManySessions,
    UnsupportedDatabase,
)
from lockgate.runner.database.backends.postgresql_server import Server, is_shared, objection
from lockgate.runner.database.database_url import own_url
from lockgate.runner.database.lock import Holder, acquire, fence_key, leader_key
from lockgate.runner.database.outcome import brief, classify, sqlstate_of
from lockgate.runner.database.session_settings import (
    NAME_LIMIT,
    Settings,
    application_name,
    is_kept,
    settings_statement,
)
from lockgate.runner.entry.sessions import is_patient
from lockgate.runner.health.check_results import index_result, sql_result
from lockgate.runner.invocation.checks import IndexCheck, SqlCheck
from lockgate.runner.ledger.index_work import built_index
from lockgate.runner.migration.advice import advice_on
from lockgate.runner.migration.attempts import LONGEST_PAUSE, backoff, lock_timeout_ms
from lockgate.runner.migration.migrate import judge
from lockgate.runner.records.lineage import merged
from lockgate.runner.revisions.plan import ahead, ancestors, graph

AT_CONNECT = 'connection to server at "127.0.0.1", port 5432 failed:'
NOTHING = {"error": None, "pending": 0, "configured": True}


def test_an_entry_that_leaves_nothing_pending_is_done():
    assert judge(**NOTHING).done


def test_an_entry_that_leaves_something_pending_without_an_error_is_no_progress():
    assert isinstance(judge(**{**NOTHING, "pending": 2}).error, NoProgress)


def test_an_entry_that_ran_nothing_is_no_progress():
    assert isinstance(judge(**{**NOTHING, "configured": False}).error, NoProgress)


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (DatabaseBusy(""), True),
        (DatabaseUnreachable(""), True),
        (LockBusy(""), False),
        (MigrationFailed(""), False),
        (InvalidRevisions(""), False),
    ],
)
def test_only_what_can_succeed_later_is_tried_again(error, retry):
    assert judge(**{**NOTHING, "error": error, "pending": 1}).retry is retry


@given(st.integers(1, 10_000), st.floats(0.5, 1.0))
def test_pauses_are_bounded(attempt, jitter):
    assert 0 < backoff(attempt, lambda _low, _high: jitter) <= LONGEST_PAUSE


class StateError(Exception):
    def __init__(self, state, text=""):
        super().__init__(text)
        self.sqlstate = state


class CodeError(Exception):
    pgcode = "40P01"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StateError("55P03"), DatabaseBusy),
        (StateError("40001"), DatabaseBusy),
        (CodeError(), DatabaseBusy),
        (StateError("57P01"), DatabaseUnreachable),
        (StateError("57P04"), DatabaseUnreachable),
        (StateError("57P05"), DatabaseUnreachable),
        (StateError("08006"), DatabaseUnreachable),
        (StateError("25006"), DatabaseReadOnly),
        (StateError("23505"), MigrationFailed),
        (StateError("57014", "canceling statement due to statement timeout"), MigrationFailed),
        (ConnectionResetError(), DatabaseUnreachable),
        (socket.gaierror(-3, "Temporary failure in name resolution"), DatabaseUnreachable),
        (psycopg2.OperationalError(f"{AT_CONNECT} FATAL:  sorry, too many clients already"), DatabaseUnreachable),
        (psycopg2.OperationalError(f"{AT_CONNECT} FATAL:  the database system is starting up"), DatabaseUnreachable),
        (StateError("28000", 'role "x" does not exist'), InvalidConfiguration),
        (StateError("53300", "zu viele Verbindungen"), TooManySessions),
        (ModuleNotFoundError("No module named 'psycopg2'", name="psycopg2"), DriverNotInstalled),
        (ValueError("x"), MigrationFailed),
    ],
)
def test_errors_are_classified_by_what_they_mean(error, kind):
    assert type(classify(error)) is kind


def test_an_error_is_found_behind_wrappers_causes_and_groups():
    outer = RuntimeError("env.py gave up")
    outer.__cause__ = StateError("55P03")
    group = RuntimeError("unhandled errors in a TaskGroup")
    group.exceptions = (outer,)

    assert sqlstate_of(group) == "55P03"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StateError("28P01", "Passwort-Authentifizierung fehlgeschlagen"), InvalidConfiguration),
        (StateError("3D000", "Datenbank existiert nicht"), InvalidConfiguration),
        (StateError("42501", "keine Berechtigung für Datenbank"), InvalidConfiguration),
        (StateError("57P03", "das Datenbanksystem startet"), DatabaseUnreachable),
        (Exception('FATAL: password authentication failed for user "shop"'), DatabaseUnreachable),
        (psycopg2.ProgrammingError('invalid dsn: invalid connection option "nonsense"'), InvalidConfiguration),
        (TypeError("connect() got an unexpected keyword argument 'nonsense'"), InvalidConfiguration),
        (MemoryError(), MigrationFailed),
        (ssl.SSLCertVerificationError("certificate verify failed"), InvalidConfiguration),
    ],
)
def test_a_login_that_is_refused_is_known_by_its_code_in_every_language(error, kind):
    assert type(classify(error, connecting=True)) is kind


def test_a_connection_that_failed_is_told_without_names_of_classes():
    said = f'{AT_CONNECT} FATAL:  password authentication failed for user "shop"'

    refused = DBAPIError("", None, psycopg2.OperationalError(said))
    refused.pgcode = "28P01"

    assert classify(refused, connecting=True).message == (
        f'The database refuses the login: {AT_CONNECT} FATAL: password authentication failed for user "shop".'
    )


def test_a_right_that_is_missing_is_named_with_who_can_give_it():
    error = classify(StateError("42501", "permission denied for table alembic_version"))

    assert type(error) is MigrationFailed
    assert "The database role lacks a right" in error.message
    assert "Grant that right" in error.advice


@pytest.mark.parametrize("said", ['invalid sslmode value: "on"', 'invalid connection option "a"'])
def test_a_url_that_the_driver_does_not_take_is_configuration_only_while_connecting(said):
    assert type(classify(psycopg2.ProgrammingError(said), connecting=True)) is InvalidConfiguration
    assert type(classify(psycopg2.ProgrammingError(said))) is MigrationFailed


def test_the_values_of_rows_are_not_repeated():
    error = StateError("23505", 'duplicate key violates "u"\nDETAIL:  Key (email)=(ann@example.com) already exists.')

    assert "ann@example.com" not in brief(error)
    assert "duplicate key" in brief(error)


OWN = {"a": (), "b": ("a",)}


def test_a_database_is_ahead_where_history_knows_the_way_from_our_heads():
    lineage = {"c": ("b",), "d": ("c",)}

    assert ahead(["d"], ["d"], ["b"], OWN, lineage, accept=True) is None
    assert isinstance(ahead(["d"], ["d"], ["b"], OWN, lineage, accept=False), DatabaseAhead)


def test_a_row_that_history_does_not_know_is_refused():
    assert isinstance(ahead(["d"], ["d"], ["b"], OWN, {}, accept=True), DatabaseAhead)


def test_a_database_of_another_branch_is_no_database_that_is_ahead():
    error = ahead(["x"], ["x"], ["b"], OWN, {"x": ("a",)}, accept=True)

    assert isinstance(error, InvalidRevisions)
    assert "lacks b" in error.message


def test_a_database_that_is_ahead_in_one_branch_and_behind_in_another_is_refused_with_both_named():
    own = {**OWN, "k": (), "l": ("k",)}

    error = ahead(["c", "k"], ["c"], ["b", "l"], own, {"c": ("b",)}, accept=True)

    assert isinstance(error, InvalidRevisions)
    assert "ahead of this image, at c, and behind it in another branch: it lacks l" in error.message


def test_what_another_version_table_recorded_is_no_lineage_unless_that_table_is_gone():
    gone = [(False, "3", "(2)"), (False, "3", "(2)")]

    assert merged([(True, "2", "(1)"), *gone]) == {"2": "(1)", "3": "(2)"}
    assert merged([*gone, (True, "3", "(x)")]) == {"3": "(x)"}
    assert merged([*gone, (False, "3", "(y)")]) == {}


def test_a_merge_that_is_known_only_to_history_contains_both_sides():
    assert ancestors(["m"], {"m": ("b", "z"), "z": ()}, OWN) == {"m", "a", "b", "z"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, type(None)),
        ({"pooled": True}, type(None)),
        ({"in_recovery": True}, DatabaseReadOnly),
        ({"version_number": 110022}, UnsupportedDatabase),
        ({"product": "CockroachDB CCL v24.1"}, UnsupportedDatabase),
    ],
)
def test_servers_where_no_migration_may_run_are_refused(change, kind):
    good = {
        "product": "PostgreSQL 15.18 on x86_64",
        "version_number": 150018,
        "in_recovery": False,
        "pooled": False,
        "fingerprint": "",
    }
    assert type(objection(Server(**{**good, **change}))) is kind


class PooledSession:
    """A session behind a pooler that gives out server connections, each to one client, or to one transaction."""

    def __init__(self, pool, *, own):
        self.pool, self.own, self.closed, self.pinned = pool, pool.pop() if own else None, False, None

    def rows(self, sql):
        if sql == "BEGIN" and not self.own:
            self.pinned = self.pool.pop()
        elif sql == "COMMIT" and self.pinned:
            self.pool.append(self.pinned)
            self.pinned = None
        return []

    def value(self, _sql):
        return self.own or self.pinned or self.pool[-1]

    def close(self):
        self.rows("COMMIT")
        self.closed = True


@pytest.mark.parametrize("size", [2, 3, 10])
@pytest.mark.parametrize("own", [True, False])
def test_a_pooler_that_shares_its_sessions_is_told_by_one_other_session(own, size):
    pool = list(range(1, size + 1))
    mine, other = PooledSession(pool, own=own), PooledSession(pool, own=own)

    assert is_shared(mine, lambda _: other) is not own
    assert other.closed


@pytest.mark.parametrize(
    ("url", "installed", "driver"),
    [
        ("postgresql://db/shop", {"psycopg", "psycopg2"}, "psycopg2"),
        ("postgres://db/shop", {"psycopg"}, "psycopg"),
        ("postgresql://db/shop", {"asyncpg"}, "asyncpg"),
        ("postgresql+asyncpg://db/shop", {"asyncpg", "psycopg"}, "asyncpg"),
        ("postgresql+psycopg_async://db/shop", {"psycopg"}, "psycopg"),
    ],
)
def test_a_url_gets_a_driver_that_the_image_has(url, installed, driver):
    assert (
        own_url(url, default_driver="psycopg2", installed=installed.__contains__).drivername == f"postgresql+{driver}"
    )


def test_a_url_for_libpq_works_with_asyncpg():
    url = own_url(
        "postgresql://db/shop?sslmode=require&connect_timeout=3",
        default_driver="psycopg2",
        installed={"asyncpg"}.__contains__,
    )
    assert dict(url.query) == {"ssl": "require"}


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("oracle://db/shop", UnsupportedDatabase),
        ("host=db", InvalidConfiguration),
        ("postgresql+psycopg://db/shop", DriverNotInstalled),
        ("postgresql://db/shop", DriverNotInstalled),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_quoted(url, kind):
    with pytest.raises(kind) as caught:
        own_url(url, default_driver="psycopg2", installed=lambda _name: False)

    assert url not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "patient"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", True),
        ("create unique index concurrently if not exists i on t (a)", True),
        ("-- why\n/* and */ DROP INDEX CONCURRENTLY i", True),
        ("REINDEX INDEX CONCURRENTLY i", True),
        ("REINDEX (VERBOSE) TABLE CONCURRENTLY t", True),
        ("ALTER TABLE p DETACH PARTITION c CONCURRENTLY", True),
        ("CREATE INDEX i ON t (a)", False),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", False),
        ("ALTER TABLE t ADD COLUMN concurrently int", False),
        ("COMMENT ON TABLE t IS 'CREATE INDEX CONCURRENTLY'", False),
    ],
)
def test_only_statements_that_stop_nobody_may_wait_without_limit(statement, patient):
    assert is_patient(statement) is patient


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE INDEX CONCURRENTLY Items_Name ON items (name)", "items_name"),
        ('CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "My ""i" ON items (name)', 'My "i'),
        ("CREATE INDEX items_name ON items (name)", ""),
    ],
)
def test_the_index_that_is_built_is_known_by_name(statement, name):
    assert built_index(statement) == name


def test_an_index_left_invalid_by_an_earlier_try_counts_once_it_is_built_again():
    old = frozenset({"public.i", "public.j"})

    assert index_result(IndexCheck(), old, old, frozenset()).passed
    assert not index_result(IndexCheck(), old, old, frozenset({"i"})).passed
    assert not index_result(IndexCheck(), frozenset(), frozenset({"public.i"}), frozenset()).passed
    assert index_result(IndexCheck(ignore=("*",)), frozenset(), frozenset({"public.i"}), frozenset()).passed


@pytest.mark.parametrize(
    ("rows", "expect", "passed"),
    [
        ([(True,)], "true", True),
        ([(False,)], "true", False),
        ([(None,)], "null", True),
        ([(3, "x")], "3", True),
        ([], "true", False),
    ],
)
def test_the_first_column_of_the_first_row_is_what_counts(rows, expect, passed):
    assert sql_result(SqlCheck("c", "SELECT", expect), rows).passed is passed


@given(st.text(), st.text(), st.text())
def test_an_application_name_is_short_and_harmless(resource, pod, role):
    settings = Settings(resource=resource, pod=pod, role=role, lock_timeout_ms=500)

    assert len(application_name(settings).encode()) <= NAME_LIMIT
    statement = settings_statement(settings)
    assert ":" not in statement
    assert "%" not in statement


def test_leader_and_fence_of_a_table_have_different_keys_in_64_bits():
    keys = {make(schema, table) for make in (leader_key, fence_key) for schema in ("", "a") for table in ("t", "u")}

    assert len(keys) == 8
    assert all(-(2**63) <= key < 2**63 for key in keys)


class FakeLock:
    def __init__(self, free_after):
        self.tries, self.free_after = 0, free_after

    def try_acquire(self):
        self.tries += 1
        return self.tries > self.free_after

    def release(self):
        raise AssertionError("nobody has the lock to give it back")

    def holder(self):
        return Holder(4711, "lockgate shop/shop shop-7c leader")


def test_waiting_tells_the_holder_and_ends_when_the_time_is_over():
    now, told = [0.0], []

    def sleep(seconds):
        now[0] += seconds

    more = {"clock": lambda: now[0], "sleep": sleep, "uniform": lambda _low, high: high}
    waited = acquire(FakeLock(5), wait=10, waiting=lambda holder, at: told.append((str(holder), at)), **more)
    assert waited == pytest.approx(2.5)
    assert told == [("lock held by pid 4711 (lockgate shop/shop shop-7c leader)", at) for at in (0.0, 1.0, 2.0)]

    with pytest.raises(LockBusy) as caught:
        acquire(FakeLock(10**6), wait=10, waiting=lambda _holder, _seconds: None, **more)
    assert "pid 4711" in caught.value.message
    assert now[0] == pytest.approx(12.5)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (["500ms", "0", "10min", "1s"], True),
        (["200ms", "5s", "1min", None], True),
        (["0", "0", "10min", "1s"], False),
        (["2s", "0", "10min", "1s"], False),
        (["500ms", "0", "1h", "1s"], False),
        (["500ms", "0", "10min", "0"], False),
        (["1d", "0", "10min", "1s"], False),
    ],
)
def test_a_session_is_prepared_anew_only_where_a_revision_changed_its_settings(found, kept):
    assert is_kept(Settings(lock_timeout_ms=500), found) is kept


def test_the_first_attempts_wait_shortly_for_a_lock_and_later_ones_as_long_as_is_allowed():
    waits = [lock_timeout_ms(attempt, 500, 40) for attempt in range(1, 41)]

    assert waits[0] == 103
    assert waits == sorted(waits)
    assert waits[17:] == [500] * 23
    assert all(wait % 10 == 3 for wait in waits[:17])
    assert [lock_timeout_ms(attempt, 600, 3) for attempt in (1, 2, 3)] == [123, 600, 600]
    assert lock_timeout_ms(1, 500, 1) == 500
    assert [lock_timeout_ms(1, most, 40) for most in (0, 10, 50, 200, 10_000)] == [0, 10, 43, 43, 2003]


@pytest.mark.filterwarnings("ignore:Revision gone referenced")
def test_a_revision_that_builds_on_one_that_is_not_there_is_told_in_words(tmp_path):
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "a2.py").write_text('revision = "a2"\ndown_revision = "gone"\n')

    with pytest.raises(InvalidRevisions, match="one of them builds on 'gone', which none of them is"):
        graph(ScriptDirectory(str(tmp_path)))


class Coded(Exception):
    """An error of a database, by its SQLSTATE."""

    def __init__(self, state):
        self.sqlstate = state
        super().__init__("no words")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("53100", "no room left"),
        ("53200", "no memory left"),
        ("53400", "temp_file_limit"),
        ("58030", "restore a backup"),
        ("42501", "Grant that right"),
        ("22012", "Correct the revision or the data"),
    ],
)
def test_what_to_do_fits_the_error(state, said):
    entry = SimpleNamespace(seen=[], failed_revision="a1", failed_statement="")

    assert said in advice_on(entry, Coded(state), MigrationFailed("no words"))


def test_a_deleted_version_is_no_schema_to_take_a_baseline_of():
    known = SimpleNamespace(rows=(), arrival=SimpleNamespace(lineage={"a1": ()}, in_transaction=False))
    entry = SimpleNamespace(seen=[known], failed_revision="a1", failed_statement="")

    assert "lockgate.history says" in advice_on(entry, Coded("42P07"), MigrationFailed("no words"))


def test_a_process_without_memory_is_no_database_that_cannot_be_reached():
    error = classify(MemoryError(), connecting=True)

    assert (type(error), error.message) == (MigrationFailed, "The process has no memory left.")
