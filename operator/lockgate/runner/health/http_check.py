"""The health check `http`: a URL answers with the status that is expected, tried until the time is over.

Neither user, password nor query of the URL is ever part of a message: all of them can be secrets.
"""

from __future__ import annotations

import base64
import http.client
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from lockgate.report import CheckResult
from lockgate.runner.durations import spoken
from lockgate.runner.invocation.checks import HttpCheck

__all__ = ["check_http", "shown_url"]

PAUSE = 0.5
"""Seconds between tries."""


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Take a redirect as the answer that it is: its status is compared, nobody is led elsewhere."""


def check_http(
    check: HttpCheck,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> CheckResult:
    """Ask until the answer is right or the time is over; always at least once."""
    start = clock()
    while True:
        found = _ask(check.url, max(check.timeout - (clock() - start), 0.1))
        if found == check.status:
            return CheckResult(check.name, passed=True)
        if clock() - start + PAUSE >= check.timeout:
            message = f"{shown_url(check.url)}: expected {check.status}, got {found} ({spoken(check.timeout)})"
            return CheckResult(check.name, passed=False, message=message)
        sleep(PAUSE)


def _ask(url: str, timeout: float) -> int | str:
    """Return the status of the answer, or in words why there is none."""
    try:
        with build_opener(_NoRedirect).open(_request(url), timeout=timeout) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code
    except URLError as error:
        return _brief(error.reason)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _brief(error)


def _request(url: str) -> Request:
    """Move user and password from the URL to where HTTP has them; urllib would take them for a part of the host."""
    parts = urlsplit(url)
    user, separator, host = parts.netloc.rpartition("@")
    request = Request(urlunsplit(parts._replace(netloc=host)))  # noqa: S310  # http or https, as parse_checks saw to
    if separator:
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(unquote(user).encode()).decode())
    return request


def _brief(reason: object) -> str:
    """Say what went wrong without the words of an exception, which may quote the URL, unless the system chose them."""
    if isinstance(reason, TimeoutError):
        return "no answer"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__


def shown_url(url: str) -> str:
    """Return the URL without user, password, query and fragment."""
    parts = urlsplit(url)
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return f"{shown}?***" if parts.query else shown
