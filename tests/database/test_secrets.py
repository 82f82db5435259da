"""No secret leaves a run, by an output or by a table, however it is written; PostgreSQL says what a literal is."""

from __future__ import annotations

import contextlib
import random

import psycopg
import pytest
from planted_secrets import literals, mysql_literals, pieces

from lockgate.decide.outcomes import failure_text
from lockgate.runner.sql.lexer import CODE, LITERAL, tokens
from lockgate.runner.sql.values import without_values

SECRET = "Hunter2Zq'Hunter3\\x!Hunter4"
SIGNS = (
    "'",
    "''",
    "\\",
    '"',
    "$",
    "$$",
    "$a$",
    "a",
    "E",
    "e",
    "U&",
    "B",
    "x",
    "1",
    "--",
    "/*",
    "*/",
    "\n",
    " ",
    ",",
    "é",
    "-",
)
BEGINNINGS = ("E'", "'", "N'", "$$", "$a$", "'a'", "'b'\n", "", "-- x\n", "/* ", '1 "', "x")
ENDS = ("'", "$$", "$a$", "*/", '"', "")


def leaked(*texts):
    return {piece for piece in pieces(SECRET) for text in texts if piece in text}


def test_postgresql_reads_each_spelling_of_a_literal_as_one(database):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with database.connect(autocommit=True) as connection:
        for _ in range(40):
            secret = "".join(dice.choice("Hu7'\"\\$!é /*%;-") for _ in range(dice.randrange(2, 14))) + "x"
            for literal in literals(secret).values():
                assert connection.execute(f"SELECT {literal}".encode()).fetchone() == (secret,), literal
                assert next(tokens(literal)).kind == LITERAL
                assert secret not in without_values(f"SELECT {literal}").replace("'***'", "")


def test_mysql_reads_each_spelling_of_a_literal_as_one(mariadb_database):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with contextlib.closing(mariadb_database.connect()) as connection, connection.cursor() as cursor:
        for _ in range(40):
            secret = "".join(dice.choice("Hu7'\"\\$!é /*%;-#`") for _ in range(dice.randrange(2, 14))) + "x"
            for literal in mysql_literals(secret).values():
                cursor.execute(f"SELECT /*! {literal} */ # it's")
                assert cursor.fetchone() == (secret,), literal
                assert secret not in without_values(f"SELECT {literal}", "mysql").replace("'***'", "")


def test_what_postgresql_takes_for_code_is_none_of_our_literals(database):
    """Where our literal ended elsewhere than the server's, the masked statement would be none, or of other columns."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice, taken = random.Random(seed), 0
    with database.connect(autocommit=True) as connection:
        for _ in range(4000):
            chosen = (
                dice.choice(BEGINNINGS) + "".join(dice.choices(SIGNS, k=dice.randrange(6))) + dice.choice(ENDS)
                for _ in range(3)
            )
            statement = "SELECT " + ",".join(chosen)
            found = list(tokens(statement))
            try:
                columns = len(connection.execute(statement.encode()).description)
            except psycopg.Error:
                continue
            taken += 1
            masked = "".join("'***'" if token.kind == LITERAL else token.text for token in found)
            assert len(connection.execute(masked.encode()).description) == columns, statement
            assert "'" not in "".join(token.text for token in found if token.kind == CODE), statement
    assert taken > 50


def statements(pattern):
    return [f"op.execute({pattern.format(literal)!r})" for literal in literals(SECRET).values()]


def half_applied():
    committed = [f"    {line}" for line in statements("SELECT set_config('app.key', {}, false)")]
    return "\n".join(
        [
            "op.execute('CREATE TABLE kept (id int)')",
            "with op.get_context().autocommit_block():",
            *committed,
            "    op.execute(sa.text('COMMENT ON TABLE kept IS NULL'))",
            statements("SELECT {}::int")[3],
        ]
    )


def test_literals_of_a_revision_that_is_left_in_the_middle_are_nowhere(written, run, database, tmp_path):
    folder, message = written(half_applied()), tmp_path / "message"
    shown = [
        run(folder, LOCKGATE_TERMINATION_MESSAGE=str(message)),
        run(folder, LOCKGATE_OUTPUT="plain"),
        run(folder, "status"),
        run(folder, LOCKGATE_HALF_APPLIED="Resume"),
    ]
    kept = database.rows("SELECT * FROM lockgate.statements ORDER BY position")

    assert [result.code for result in shown] == [20, 20, 0, 20], shown[-1].output
    assert (shown[0].reason, shown[0].report.failure.sqlstate) == ("HalfApplied", "22P02")
    assert "invalid input syntax for type integer: ***" in shown[0].report.message
    assert len(kept) > len(literals(SECRET))
    tables = database.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'lockgate'")
    rows = [str(database.rows(f"SELECT * FROM lockgate.{table}")) for (table,) in tables]
    status = [failure_text(result.report) for result in (shown[0], shown[3])]
    assert not leaked(*(result.output for result in shown), message.read_text(), *rows, *status)


@pytest.mark.parametrize("output", ["plain", "json"])
def test_a_plan_shows_no_password_that_a_revision_sets(written, run, output):
    folder = written(
        "\n".join([*statements("ALTER ROLE nobody WITH PASSWORD\n    {}"), "op.execute(\"SELECT 'told'\")"])
    )

    result = run(folder, "plan", LOCKGATE_OUTPUT=output)

    assert result.code == 0, result.output
    assert "told" in result.output
    assert result.output.count("'***'") >= len(literals(SECRET))
    assert not leaked(result.output)


PRINTS = """
import logging, os, sys
logging.basicConfig()
logging.getLogger("shop").warning("connecting to %s", os.environ["DATABASE_URL"])
print("connecting to", os.environ["DATABASE_URL"])
sys.stderr.write(os.environ["SHOP_API_KEY"] + os.linesep)
raise RuntimeError("cannot reach " + os.environ["DATABASE_URL"])
"""


def test_what_env_prints_has_none_of_the_passwords_that_the_run_knows(written, run, database):
    url = f"{database.url()}?sslpassword=Hunter2%2FZq-Hunter3"
    folder = written("pass", env=PRINTS)

    result = run(folder, url=url, SHOP_API_KEY="Hunter4-Hunter5")

    assert result.code == 20, result.output
    assert result.output.count("sslpassword=***") >= 4  # twice printed, and in the report
    assert "Hunter" not in result.output


def test_letters_that_the_output_cannot_encode_are_written_with_backslashes(written, run):
    folder = written("raise RuntimeError('phase 1 \\u2192 2 \\udcff')")

    plain = run(folder, LOCKGATE_OUTPUT="plain", PYTHONIOENCODING="ascii")
    unreadable = run(folder, "migrate", "--target", "\u2192", LOCKGATE_OUTPUT="plain", PYTHONIOENCODING="ascii")

    assert r"phase 1 \u2192 2 \udcff" in plain.output
    assert "lockgate: InvalidRevisions" in unreadable.output
    assert r"\u2192" in unreadable.output
