"""What was asked for, against what the database can do. Pure."""

from __future__ import annotations

from lockgate.errors import InvalidConfiguration
from lockgate.runner.database.backends.backend import Backend
from lockgate.runner.invocation.checks import IMPLIED, ConstraintCheck, IndexCheck
from lockgate.runner.invocation.configuration import Configuration

__all__ = ["fitted"]


def fitted(configuration: Configuration, backend: Backend) -> Configuration:
    """Return the configuration without what is only a default; InvalidConfiguration where it was asked for."""
    if configuration.statement_timeout and not backend.limits_statements:
        raise InvalidConfiguration(
            f"{backend.spoken} knows no time-out for a statement.",
            advice="Leave --statement-timeout (spec.timeouts.statement) out; --run-timeout bounds the whole run.",
        )
    if backend.has_invalid_objects:
        return configuration
    checks = tuple(check for check in configuration.checks if check is not IMPLIED)
    for check in checks:
        if isinstance(check, (IndexCheck, ConstraintCheck)):
            raise InvalidConfiguration(
                f"The health check {check.name!r} is not for {backend.spoken}, where what is there is always valid.",
                advice="Leave it out.",
            )
    return configuration._replace(checks=checks)
