"""The transactions of one MigrationContext, begun and committed as `env_transactions` has decided.

What env.py begins by ``context.begin_transaction()`` is Alembic's own, in any case: it is committed where env.py leaves
it, with what env.py has done after the revisions. With a transaction for each revision, that one is committed after the
first revision, the next revision begins another, and the one of the last revision is left open for env.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from lockgate.runner.entry.env_transactions import AS_ENVIRONMENT, Choice, Style

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

__all__ = ["Transactions"]


class Transactions:
    """Stands in for the two methods of a MigrationContext that begin transactions; Alembic's own do the work."""

    def __init__(
        self,
        context: MigrationContext,
        statements: Callable[[], tuple[str, ...]],
        decide: Callable[[Style], Choice],
        ended: Callable[[], None],
        *,
        only_looks: bool,
    ) -> None:
        """Take what tells the ``statements`` of env.py on this connection, and what decides from its style.

        ``decide`` is called before Alembic reads the version table, ``ended`` when it has run the revisions: env.py may
        go on, for the next tenant. ``only_looks``: nothing is applied, and what env.py does in the transaction that
        Alembic begins is rolled back.
        """
        self._context, self._statements, self._only_looks = context, statements, only_looks
        self._decide, self._ended = decide, ended
        self._begin, self._run = context.begin_transaction, context.run_migrations
        self._is_inside = self._was_begun = False
        self._first = 0
        self.choice = Choice("")
        """Decided when env.py calls ``run_migrations()``."""
        self.is_last = False
        """The revision that runs is the last one."""
        self.committed_inside = False
        """A revision has committed the transaction in which it ran."""
        context.begin_transaction = self.begin_transaction  # type: ignore[method-assign]  # on the instance
        context.run_migrations = self.run_migrations  # type: ignore[method-assign]  # likewise

    @property
    def is_environments(self) -> bool:
        """Whether the revisions run in env.py's own transaction."""
        return self.choice.transactions == AS_ENVIRONMENT

    @property
    def stays_open(self) -> bool:
        """Whether the transaction of the revision that ends now is committed by env.py."""
        return self.is_environments or (self.is_last and self._is_inside and not self._is_alembics)

    def begin_transaction(self, _per_migration: bool = False) -> AbstractContextManager[Any, Any]:
        """Stand in for MigrationContext.begin_transaction."""
        if not _per_migration:
            self._was_begun, self._first = self._in_transaction(), len(self._statements())
            begun = self._begin()
            return self._looking(begun) if self._only_looks else begun
        if self._is_alembics:
            return self._begin(_per_migration=True)
        return self._as_environment() if self.is_environments else self._per_revision()

    def run_migrations(self, **arguments: Any) -> None:
        """Stand in for MigrationContext.run_migrations: decide, then let Alembic do it."""
        context = self._context
        self._is_inside = context._transaction is not None  # of ``with context.begin_transaction()``
        begun = self._was_begun if self._is_inside else self._in_transaction()
        self.choice = self._decide(
            Style(
                begun=context._in_external_transaction or begun,
                says_per_migration=bool(context._transaction_per_migration),
                transactional=bool(context.impl.transactional_ddl),
                statements=self._statements()[self._first :] if self._is_inside else (),
            )
        )
        self._run(**arguments)
        self._ended()

    @property
    def _is_alembics(self) -> bool:
        """Whether Alembic has one transaction for each revision anyway, or leaves all of them to env.py."""
        context = self._context
        per_migration = context._transaction_per_migration or not context.impl.transactional_ddl
        return bool(context._in_external_transaction or per_migration)

    def _in_transaction(self) -> bool:
        connection = self._context.connection
        return connection is not None and connection.in_transaction()

    @contextmanager
    def _looking(self, begun: Any) -> Iterator[None]:
        with begun:
            yield
            if self._context._transaction is not None and self._context._transaction.is_active:
                self._context._transaction.rollback()
                self._context._transaction = None

    @contextmanager
    def _as_environment(self) -> Iterator[None]:
        yield
        self._adopt()

    @contextmanager
    def _per_revision(self) -> Iterator[None]:
        context = self._context
        if context._transaction is None or not context._transaction.is_active:
            assert context.connection is not None  # noqa: S101  # a revision runs over it
            context._transaction = context.connection.get_transaction() or context.connection.begin()
        try:
            yield
        except BaseException as error:
            if not self._is_inside:
                self._end(type(error), error, error.__traceback__)
            raise  # env.py leaves its transaction by this error, or goes on: see `unfinished`
        self._adopt()
        if not (self._is_inside and self.is_last):
            self._end(None, None, None)

    def _adopt(self) -> None:
        """Take over the transaction that has begun since a revision committed the one in which it ran.

        Nothing else would commit what comes after that, the row of the version table included.
        """
        context = self._context
        if context._transaction is None or context._transaction.is_active or context.connection is None:
            return
        began = context.connection.get_transaction()
        if began is not None:
            context._transaction, self.committed_inside = began, True

    def _end(self, *error: Any) -> None:
        transaction, self._context._transaction = self._context._transaction, None
        if transaction is not None:
            transaction.__exit__(*error)
