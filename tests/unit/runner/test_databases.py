"""What differs from database to database, decided without one."""

from __future__ import annotations

import itertools
import os

import pytest

from lockgate.errors import (
    DatabaseBusy,
    DatabaseReadOnly,
    DatabaseUnreachable,
    DriverNotInstalled,
    InvalidConfiguration,
    MigrationFailed,
    TooManySessions,
    TransactionPooler,
    UnsupportedDatabase,
)
from lockgate.runner.database.address import direct_address
from lockgate.runner.database.backends import backend_of
from lockgate.runner.database.backends.file_lock import FileLock, read_holder
from lockgate.runner.database.backends.mysql import commits_by_itself, judge_server
from lockgate.runner.database.backends.mysql_errors import meaning, without_values
from lockgate.runner.database.backends.named_lock import NAME_LIMIT, lock_name
from lockgate.runner.database.database_url import own_url
from lockgate.runner.database.lock import Holder
from lockgate.runner.database.session_settings import Settings

ME = Holder(os.getpid(), "lockgate shop on here", "11:30:00")


def test_a_file_lock_is_one_for_the_whole_process_and_names_who_has_it(tmp_path):
    database = str(tmp_path / "shop.db")
    lock, again = FileLock(database, ME), FileLock(database, ME)

    assert read_holder(database) is None
    assert lock.try_acquire()
    assert again.try_acquire()
    assert lock.holder() == read_holder(database) == ME
    lock.release()
    assert not again.is_held()
    assert read_holder(database) is None


def test_a_file_lock_whose_file_was_deleted_is_not_held_any_more(tmp_path):
    lock = FileLock(str(tmp_path / "shop.db"), ME)
    assert lock.try_acquire()

    os.unlink(lock.path)

    assert not lock.is_held()
    assert lock.try_acquire()
    lock.release()


def test_what_is_left_of_a_lock_that_nobody_has_means_nothing(tmp_path):
    database = str(tmp_path / "shop.db")
    (tmp_path / "shop.db.lockgate").write_text("not JSON")

    assert read_holder(database) is None
    lock = FileLock(database, ME)
    assert lock.try_acquire()
    lock.release()


def test_a_lock_file_that_cannot_be_made_is_said_with_what_to_do(tmp_path):
    with pytest.raises(InvalidConfiguration, match=r"nowhere/shop\.db\.lockgate cannot be made.*right to write"):
        FileLock(str(tmp_path / "nowhere" / "shop.db"), ME).try_acquire()


def test_names_of_locks_fit_and_differ_for_everything_that_they_are_made_of():
    parts = [
        (kind, database, schema, table)
        for kind in ("leader", "fence")
        for database in "ab"
        for schema in "cd"
        for table in "ef"
    ]
    names = {lock_name(*part) for part in parts}

    assert len(names) == len(parts)
    assert max(map(len, names)) <= NAME_LIMIT


@pytest.mark.parametrize(
    ("statement", "commits"),
    [
        ("ALTER TABLE t ADD c int", True),
        ("-- why\n/* and */ create table t (a int)", True),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", True),
        ("CREATE TEMPORARY TABLE t (a int)", False),
        ("DROP TEMPORARY TABLE t", False),
        ("TRUNCATE t", True),
        ("LOCK TABLES t WRITE", True),
        ("/*!40000 ALTER TABLE t DISABLE KEYS */", True),
        ("INSERT INTO t VALUES ('DROP TABLE t')", False),
        ("SELECT 1", False),
        ("UPDATE alters SET a = 1", False),
    ],
)
def test_statements_that_commit_by_themselves_are_known(statement, commits):
    assert commits_by_itself(statement) is commits


MARIADB = {"version": "10.11.6-MariaDB-1", "read_only": "OFF", "wsrep_on": "OFF"}
MYSQL = {"version": "8.4.2", "read_only": "OFF", "super_read_only": "OFF"}


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        (MARIADB, type(None)),
        (MYSQL, type(None)),
        ({**MARIADB, "version": "10.5.9-MariaDB"}, UnsupportedDatabase),
        ({**MYSQL, "version": "5.7.44-log"}, UnsupportedDatabase),
        ({**MYSQL, "version": "8.0.11-TiDB-v7.5.0"}, UnsupportedDatabase),
        ({}, UnsupportedDatabase),
        ({**MARIADB, "wsrep_on": "ON"}, UnsupportedDatabase),
        ({**MYSQL, "group_replication_single_primary_mode": "ON"}, type(None)),
        ({**MYSQL, "group_replication_single_primary_mode": "OFF"}, UnsupportedDatabase),
        ({**MARIADB, "read_only": "ON"}, DatabaseReadOnly),
        ({**MYSQL, "super_read_only": "ON"}, DatabaseReadOnly),
    ],
)
def test_a_server_on_which_the_lock_or_the_work_would_fail_is_refused(variables, kind):
    assert type(judge_server(variables, moved=False)) is kind


def test_a_proxy_that_changes_the_session_between_statements_is_refused():
    assert isinstance(judge_server(MARIADB, moved=True), TransactionPooler)


class Proxied:
    """Answers as a proxy does that has `sessions` of the server for one client, each statement over the next."""

    def __init__(self, *sessions: int) -> None:
        self._sessions = itertools.cycle(sessions)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        if "CONNECTION_ID()" in sql:
            return [(next(self._sessions), "db")]
        return list(MARIADB.items()) if "SHOW VARIABLES" in sql else [("shop",)]

    def value(self, sql: str) -> object:
        return self.rows(sql)[0][0]


@pytest.mark.parametrize(("sessions", "kind"), [((7,), type(None)), ((7, 7, 8), TransactionPooler)])
def test_a_proxy_is_known_by_the_sessions_that_statements_meet(sessions, kind):
    objection = backend_of("mysql").examine(Proxied(*sessions)).objection

    assert type(objection) is kind


@pytest.mark.parametrize(
    ("number", "said", "kind"),
    [
        (1205, "Lock wait timeout exceeded; try restarting transaction", DatabaseBusy),
        (1213, "Deadlock found", DatabaseBusy),
        (2013, "Lost connection to MySQL server during query", DatabaseUnreachable),
        (1040, "Too many connections", TooManySessions),
        (1045, "Access denied for user 'shop'", InvalidConfiguration),
        (1049, "Unknown database 'shop'", InvalidConfiguration),
        (1290, "The server is running with the --read-only option", DatabaseReadOnly),
        (1290, "The server is running with the --secure-file-priv option", type(None)),
        (3024, "Query execution was interrupted, maximum statement execution time exceeded", MigrationFailed),
        (1054, "Unknown column 'a' in 'field list'", type(None)),
    ],
)
def test_error_numbers_of_mysql_have_a_meaning(number, said, kind):
    assert type(meaning(number, said)) is kind


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Duplicate entry 'ann@example.com' for key 'email'", "Duplicate entry '...' for key 'email'"),
        (
            "Incorrect integer value: 'x' for column `s`.`t`.`a` at row 1",
            "Incorrect integer value: '...' for column `s`.`t`.`a` at row 1",
        ),
        (
            "You have an error in your SQL syntax; check the manual near 'VALUES ('s3cret')' at line 1",
            "You have an error in your SQL syntax; check the manual near '...' at line 1",
        ),
        ("Table 'shop.items' doesn't exist", "Table 'shop.items' doesn't exist"),
    ],
)
def test_messages_of_mysql_are_repeated_without_values_of_rows(message, shown):
    assert without_values(message) == shown


@pytest.mark.parametrize(
    ("url", "installed", "driver"),
    [
        ("mysql://db/shop", {"pymysql"}, "mysql+pymysql"),
        ("mysql+mysqldb://db/shop", {"pymysql"}, "mysql+pymysql"),
        ("mysql+mysqldb://db/shop", {"MySQLdb", "pymysql"}, "mysql+mysqldb"),
        ("mariadb+pymysql://db/shop", {"pymysql"}, "mysql+pymysql"),
        ("mysql+asyncmy://db/shop", {"asyncmy"}, "mysql+asyncmy"),
        ("sqlite:///shop.db", {"sqlite3"}, "sqlite+pysqlite"),
        ("sqlite+aiosqlite:///shop.db", {"sqlite3"}, "sqlite+pysqlite"),
    ],
)
def test_a_url_of_another_database_gets_a_driver_that_the_image_has(url, installed, driver):
    assert own_url(url, default_driver="psycopg", installed=installed.__contains__).drivername == driver


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgresql+psycopg", "postgresql+asyncpg", "mysql+pymysql", "mariadb"]
)
@pytest.mark.parametrize(
    "user", ["shop:Pa@Hunter2", "shop:@Hunter2", "shop:Pa/@?Hunter2", "shop:Pa@Hunter2/x", "@:Hunter2@"]
)
def test_an_at_sign_that_is_not_written_as_in_urls_is_named_and_nothing_of_it_is_shown(scheme, user):
    url = f"{scheme}://{user}@db:5432/shop"
    with pytest.raises(InvalidConfiguration, match="%40") as caught:
        own_url(url, default_driver="psycopg", installed=lambda _name: True)

    assert direct_address(url, lambda _name: True) is None
    assert "Hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://sh@op:Pa/?#ss@db/shop",
        "postgresql://shop:x@db/sh@op",
        "postgresql://db/shop?user=ann@example.com&options=-c%20a.b%3Dc@d",
        "sqlite:////srv/a@b/shop.db",
    ],
)
def test_an_at_sign_that_can_be_read_stays(url):
    assert own_url(url, default_driver="psycopg", installed=lambda _name: True)


@pytest.mark.parametrize("url", ["mysql://db/shop", "mysql+pymysql://db/shop", "sqlite:///shop.db"])
def test_a_driver_of_another_database_that_is_missing_is_named(url):
    with pytest.raises(DriverNotInstalled):
        own_url(url, default_driver="psycopg", installed=lambda _name: False)


def test_settings_of_mysql_only_become_stricter_and_are_whole_seconds():
    said: list[str] = []
    backend_of("mysql").prepare(lambda sql: said.append(sql) or [], Settings(lock_timeout_ms=1200))

    assert said == [
        "SET SESSION wait_timeout = CAST(greatest(@@wait_timeout, 28800) AS UNSIGNED),"
        " lock_wait_timeout = CAST(least(@@lock_wait_timeout, 2) AS UNSIGNED),"
        " innodb_lock_wait_timeout = CAST(least(@@innodb_lock_wait_timeout, 2) AS UNSIGNED)"
    ]


def test_a_busy_timeout_of_sqlite_that_is_shorter_stays():
    for found, wanted in ((5000, ["PRAGMA busy_timeout", "PRAGMA busy_timeout = 500"]), (0, ["PRAGMA busy_timeout"])):
        said: list[str] = []
        backend_of("sqlite").prepare(
            lambda sql, said=said, found=found: said.append(sql) or [(found,)], Settings(lock_timeout_ms=500)
        )
        assert said == wanted


def test_a_database_of_another_kind_is_refused():
    with pytest.raises(UnsupportedDatabase, match="oracle"):
        backend_of("oracle")
