"""Health checks: how they are written, and what each of them says of what it found."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from lockgate.runner.health.check_results import constraint_result, exists_result
from lockgate.runner.health.command_check import check_command
from lockgate.runner.health.differences import Difference, describe
from lockgate.runner.health.drift import Comparison, drift_message
from lockgate.runner.health.http_check import check_http, shown_url
from lockgate.runner.invocation.check_parsing import parse_checks
from lockgate.runner.invocation.checks import (
    CommandCheck,
    ConstraintCheck,
    DriftCheck,
    ExistsCheck,
    HttpCheck,
    IndexCheck,
)
from lockgate.runner.output.redaction import Redactor


def parse(*items: object):
    return parse_checks(json.dumps(items))[1:]


@pytest.mark.parametrize(
    ("item", "check"),
    [
        ({"exists": {"tables": ["a", "s.b"]}}, ExistsCheck("exists-1", tables=("a", "s.b"))),
        ({"exists": {"indexes": ["i"], "columns": ["a.x"]}}, ExistsCheck("exists-1", (), ("i",), ("a.x",))),
        ({"constraints": {}}, ConstraintCheck()),
        ({"name": "c", "constraints": {"ignore": ["k"]}}, ConstraintCheck("c", ("k",))),
        ({"drift": {}}, DriftCheck()),
        ({"drift": {"ignore": ["items"]}}, DriftCheck(ignore=("items",))),
        ({"http": {"url": "http://shop/healthz"}}, HttpCheck("http-1", "http://shop/healthz", 200, 5)),
        (
            {"name": "h", "http": {"url": "https://shop", "status": 204, "timeout": "1m30s"}},
            HttpCheck("h", "https://shop", 204, 90),
        ),
        ({"command": {"command": ["a", ""]}}, CommandCheck("command-1", ("a", ""), 30)),
        ({"command": {"command": ["a"], "timeout": "250ms"}}, CommandCheck("command-1", ("a",), 0.25)),
    ],
)
def test_a_check_is_read_as_it_is_written(item, check):
    assert parse(item) == (check,)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({}, "exactly one of sql, indexes, exists, constraints, drift, http, command"),
        ({"drift": {}, "constraints": {}}, "exactly one of"),
        ({"drift": None}, "drift must be an object"),
        ({"drift": {"ignores": []}}, "drift may have ignore, and nothing else"),
        ({"constraints": {"ignore": "a"}}, "constraints needs a list of names in ignore"),
        ({"exists": {}}, "exists needs tables, indexes or columns"),
        ({"exists": {"views": ["a"]}}, "exists needs tables, indexes or columns"),
        ({"exists": {"columns": ["a"]}}, "like orders.customer_id"),
        ({"http": {}}, "http needs a url"),
        ({"http": {"url": "file:///etc/passwd"}}, "a url like http://shop/healthz"),
        ({"http": {"url": "http://shop/a b"}}, "a url like http://shop/healthz"),
        ({"http": {"url": "http://shop:port/"}}, "a url like http://shop/healthz"),
        ({"http": {"url": "http://[shop/"}}, "a url like http://shop/healthz"),
        ({"http": {"url": "http://shop", "status": 20}}, "a status between 100 and 599"),
        ({"http": {"url": "http://shop", "timeout": "5"}}, "a timeout that is not a duration"),
        ({"http": {"url": "http://shop", "timeout": 5}}, "needs a timeout like 5s"),
        ({"command": {"command": "true"}}, "command needs a command (a list"),
        ({"command": {"command": []}}, "command needs a command (a list"),
        ({"command": {"command": [1]}}, "made of texts"),
    ],
)
def test_a_check_that_cannot_be_right_is_refused_by_its_position(item, words):
    with pytest.raises(ValueError, match=r"^check 2") as caught:
        parse({"constraints": {}}, item)

    assert words in str(caught.value)


def test_the_index_check_stays_on_beside_the_others():
    assert parse_checks('[{"drift": {}}]') == (IndexCheck(), DriftCheck())


@pytest.mark.parametrize(
    ("ignore", "passed"),
    [
        ((), False),
        (("new",), True),
        (("t.new",), True),
        (("s.t.new",), True),
        (("*",), True),
        (("t",), False),
        (("old",), False),
    ],
)
def test_a_constraint_that_became_not_valid_counts_unless_it_is_named(ignore, passed):
    before, after = frozenset({"s.t.old"}), frozenset({"s.t.old", "s.t.new"})

    result = constraint_result(ConstraintCheck(ignore=ignore), before, after)

    assert result.passed is passed
    assert passed or "NOT VALID: s.t.new;" in result.message


def test_what_is_missing_is_named_up_to_a_number():
    assert exists_result(ExistsCheck(), []).passed
    result = exists_result(ExistsCheck(), [f"table t{n}" for n in range(12)])
    assert not result.passed
    assert result.message.startswith("missing: table t0, table t1, ")
    assert result.message.endswith("table t9 and 2 more")


ITEMS = sa.Table(
    "items", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("name", sa.Text), sa.Index("items_name", "name")
)
NOTES = sa.Table(
    "notes", ITEMS.metadata, sa.Column("item", sa.ForeignKey("items.id", name="notes_item")), schema="shop"
)


@pytest.mark.parametrize(
    ("diff", "said"),
    [
        (("add_table", NOTES), Difference("table shop.notes only in the models", "notes", "shop")),
        (("remove_table", ITEMS), Difference("table items only in the database", "items")),
        (("add_column", None, "items", ITEMS.c.name), Difference("column items.name only in the models", "items")),
        (
            ("remove_index", next(iter(ITEMS.indexes))),
            Difference("index items_name of items only in the database", "items"),
        ),
        (
            ("add_fk", next(iter(NOTES.foreign_key_constraints))),
            Difference("foreign key notes_item of shop.notes only in the models", "notes", "shop"),
        ),
        (
            ("add_constraint", sa.UniqueConstraint(ITEMS.c.name)),
            Difference("constraint of items only in the models", "items"),
        ),
        (
            ("remove_table_comment", ITEMS, "secret"),
            Difference("table items comment only in the database", "items"),
        ),
        (
            [
                ("modify_nullable", None, "items", "name", {}, True, False),
                ("modify_default", None, "items", "name", {}, None, "secret"),
            ],
            Difference("column items.name differs in nullable (database True, models False) and default", "items"),
        ),
        (("replace_entity", "view"), Difference("replace_entity")),
        (("add_enum", SimpleNamespace(name="colour")), Difference("enum colour only in the models")),
    ],
)
def test_a_difference_is_a_sentence_without_values(diff, said):
    assert describe(diff) == said


def found(**more: object) -> Comparison:
    differences = [Difference("table items only in the models", "items"), Difference("index a of items_archive gone")]
    return Comparison(**{"contexts": 1, "differences": differences, **more})


@pytest.mark.parametrize(
    ("comparison", "ignore", "words"),
    [
        (found(), (), "differ: table items only in the models, index a of items_archive gone"),
        (found(), ("items",), "differ: index a of items_archive gone"),
        (found(), ("table items only", "index a"), ""),
        (found(differences=[]), (), ""),
        (found(empty_models=1), (), "contains no table"),
        (found(without_models=1), (), "no target_metadata"),
        (found(behind=True), (), "not all heads"),
        (Comparison(), (), "env.py ran no migrations"),
    ],
)
def test_drift_is_told_apart_from_what_cannot_be_compared(comparison, ignore, words):
    message = drift_message(DriftCheck(ignore=ignore), comparison)

    assert words in message
    assert bool(words) is bool(message)


Served = tuple[str, list[str]]


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Answer on loopback with these statuses, the last one for ever; what was asked is listed."""
    servers: list[HTTPServer] = []

    def start(*statuses: int) -> Served:
        left, asked = list(statuses), []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(f"{self.path} {self.headers.get('Authorization')}")
                status = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"127.0.0.1:{servers[-1].server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_answer_with_the_status_passes_and_credentials_go_where_http_has_them(serve):
    host, asked = serve(204)

    result = check_http(HttpCheck("h", f"http://ann:a%40b@{host}/up?key=1", 204))

    assert (result.passed, result.message) == (True, "")
    assert asked == ["/up?key=1 Basic YW5uOmFAYg=="]


def test_a_wrong_answer_fails_without_a_secret_in_the_message(serve):
    host, _ = serve(503)

    result = check_http(HttpCheck("h", f"http://ann:geheim@{host}/up?key=hidden", timeout=0.2))

    assert (result.passed, result.message) == (False, f"http://{host}/up?***: expected 200, got 503 (200ms)")


def test_a_request_is_repeated_until_the_answer_is_right(serve):
    host, asked = serve(503, 503, 200)

    assert check_http(HttpCheck("h", f"http://{host}/", timeout=30), sleep=lambda _: None).passed
    assert len(asked) == 3


def test_a_redirect_is_an_answer_and_not_followed(serve):
    host, asked = serve(302)

    assert check_http(HttpCheck("h", f"http://{host}/", 302)).passed
    assert asked == ["/ None"]


def test_nobody_at_the_other_end_is_said_in_words():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://ann:geheim@127.0.0.1:{nobody.getsockname()[1]}/"

        message = check_http(HttpCheck("h", url, timeout=0.1)).message

    assert "expected 200, got Connection refused" in message
    assert "geheim" not in message


def test_one_who_never_answers_is_given_up():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        message = check_http(HttpCheck("h", f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.2)).message

    assert "got no answer (200ms)" in message


def test_the_shown_url_has_neither_user_nor_query_nor_fragment():
    assert shown_url("https://a:b@shop:8443/x?y=z#w") == "https://shop:8443/x?***"
    assert shown_url("https://shop/x") == "https://shop/x"
    assert Redactor()("see 'https://shop/x?sig=abc', or ask") == "see 'https://shop/x?***', or ask"


def command(code: str, timeout: float = 30) -> CommandCheck:
    return CommandCheck("c", (sys.executable, "-c", code), timeout)


def test_a_command_that_ends_with_0_passes():
    assert check_command(command("print('all well')"), Redactor()).passed


def test_a_command_that_fails_shows_its_last_line_redacted_and_short():
    redact = Redactor(["postgresql://shop:geheimnis@db/shop"])

    result = check_command(command("print('first'); print('geheimnis' + 'x' * 999); print(); exit(3)"), redact)

    assert not result.passed
    assert result.message == "exit code 3: ***" + "x" * 197


def test_a_secret_at_the_edge_of_what_is_shown_is_masked_as_a_whole():
    redact = Redactor(["postgresql://shop:geheimnis@db/shop"])

    message = check_command(command("print('x' * 195 + 'geheimnis'); exit(1)"), redact).message

    assert "gehei" not in message


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started():
    child = "import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); print('on'); {child}"
    started = time.monotonic()

    result = check_command(command(code, timeout=3), Redactor())

    # The child holds the same pipe: it is closed only if the child has ended as well.
    assert result.message == "still ran after 3s: on"
    assert time.monotonic() - started < 30


def test_a_command_that_is_not_there_or_is_killed_is_said_in_words():
    assert "No such file" in check_command(CommandCheck("c", ("/no/such/program",)), Redactor()).message
    assert check_command(command("import os; os.kill(os.getpid(), 9)"), Redactor()).message == "ended by SIGKILL"


def test_a_command_gets_the_environment_of_the_pod_and_nothing_else(monkeypatch):
    monkeypatch.setenv("OF_THE_POD", "here")
    code = "import os; exit(not (os.environ['OF_THE_POD'] == 'here' and 'DATABASE_URL' not in os.environ))"
    monkeypatch.delenv("DATABASE_URL", raising=False)

    assert check_command(command(code), Redactor(["postgresql://shop:geheim@db/shop"])).passed
