"""commit many times, and be killed where DIE_AT says"""

import os
import signal

import sqlalchemy as sa
from alembic import op

revision = "k2"
down_revision = "k1"
branch_labels = None
depends_on = None

ONE_MORE = "UPDATE words SET seen = true WHERE ctid IN (SELECT ctid FROM words WHERE NOT seen LIMIT 1)"


def reached(place: str) -> None:
    if os.environ.get("DIE_AT") == place:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("FAIL_AT") == place:
        raise RuntimeError(place)


def upgrade() -> None:
    words = sa.table("words", sa.column("word", sa.Text), sa.column("seen", sa.Boolean))
    op.execute("INSERT INTO words VALUES ('first')")
    op.bulk_insert(words, [{"word": "second"}, {"word": os.environ.get("WORD", "third")}])
    reached("before any commit")
    if os.environ.get("STYLE") == "commits":
        bind = op.get_bind()
        bind.commit()
        reached("after a commit")
        while bind.execute(sa.text(ONE_MORE)).rowcount:
            bind.commit()
            reached("in a loop")
        bind.commit()
    with op.get_context().autocommit_block():
        reached("in a block")
        op.execute(words.insert().values(word=os.environ.get("WORD", "by itself"), seen=False))
        reached("after a statement of a block")
        if os.environ.get("WRONG"):
            op.execute(os.environ["WRONG"])
        op.execute("CREATE INDEX CONCURRENTLY words_word ON words (word)")
        reached("after the index")
    op.execute("ALTER TABLE words ADD COLUMN length integer")
    reached("at the end")


def downgrade() -> None:
    op.execute("ALTER TABLE words DROP COLUMN length")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY words_word")
        reached("on the way back")
    op.execute("DELETE FROM words")
