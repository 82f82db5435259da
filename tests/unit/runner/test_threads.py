"""Threads that end after an application has patched the module `threading`, as gevent does."""

from __future__ import annotations

import threading

from lockgate.runner.threads import OwnTimer


def test_a_timer_that_ends_under_another_number_says_nothing(monkeypatch):
    told, end = [], threading.Event()
    monkeypatch.setattr("sys.unraisablehook", told.append)
    thread = OwnTimer(0, end.wait)
    thread.start()
    number = thread.ident

    monkeypatch.setattr(threading, "get_ident", lambda: -1)
    end.set()
    thread.join(timeout=10)
    monkeypatch.undo()
    threading._active.pop(number, None)

    assert not thread.is_alive()
    assert told == []
