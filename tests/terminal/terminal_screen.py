"""A terminal that can be looked at: a pseudo-terminal, and what a real one would show of what is written to it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import pyte


class TerminalScreen:
    """What stands on the screen, and what has been scrolled off above it."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self.raw = b""
        self._screen = pyte.HistoryScreen(columns, lines, history=5000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._master, self.slave = pty.openpty()
        self.resize(columns, lines)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, lines: int) -> None:
        with self._lock:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            self._lower(lines)
            self._screen.resize(lines, columns)

    def _lower(self, lines: int) -> None:
        """Scroll as a terminal does that becomes lower: what does not fit goes up and is kept. pyte would drop it."""
        screen = self._screen
        if lines >= screen.lines:
            return
        row, column = screen.cursor.y, screen.cursor.x
        off = max(row - lines + 1, 0)
        screen.cursor_position(screen.lines, 1)
        for _ in range(off):
            screen.index()
        screen.cursor_position(1, 1)
        screen.insert_lines(screen.lines - lines)  # these are what pyte drops
        screen.cursor_position(row - off + 1, column + 1)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    @property
    def lines(self) -> list[str]:
        """The lines on the screen, without empty ones at its end."""
        with self._lock:
            lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def everything(self) -> list[str]:
        """All lines, with those above the screen."""
        with self._lock:
            above = ["".join(line[x].data for x in range(self._screen.columns)) for line in self._screen.history.top]
        return [*(line.rstrip() for line in above), *self.lines]

    def shows(self, *texts: str) -> list[str]:
        """Wait until all of these texts are on the screen, and return its lines."""
        deadline = time.monotonic() + 30
        while True:
            lines = self.lines
            if all(any(text in line for line in lines) for text in texts):
                return lines
            assert time.monotonic() < deadline, "\n".join([f"never showed {texts}:", *lines])
            time.sleep(0.02)

    def start(self, folder: Path, *command: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start a process whose terminal this is."""
        return subprocess.Popen(
            ["setsid", "--ctty", *command],  # so that Ctrl-C reaches it
            cwd=folder,
            env=environ,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
        )

    def ended(self, popen: subprocess.Popen[bytes]) -> int:
        """Wait for the end of the process, and until all that it said is on the screen."""
        code = popen.wait(timeout=60)
        self.close()
        return code

    def close(self) -> None:
        """Close the side of the program; what it wrote is still read."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1
            self._reader.join(timeout=10)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # nobody is left on the other side
                return
            if not data:
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)
