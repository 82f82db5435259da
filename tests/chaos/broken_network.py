"""A TCP proxy in front of a server whose connections can be reset, or cut so that neither side hears of it."""

from __future__ import annotations

import contextlib
import ctypes
import selectors
import socket
import struct
import threading

__all__ = ["Link", "Proxy"]

SO_ATTACH_FILTER = 26
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: close() sends RST."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def _go_deaf(end: socket.socket) -> None:
    """Let the kernel drop every packet that arrives here, before TCP sees it: nothing is acknowledged any more."""
    program = _Program(1, ctypes.pointer(_Instruction(0x06, 0, 0, 0)))  # BPF: return 0 bytes of the packet
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.setsockopt(
        end.fileno(), socket.SOL_SOCKET, SO_ATTACH_FILTER, ctypes.byref(program), ctypes.sizeof(program)
    )
    if failed:
        raise OSError(ctypes.get_errno(), "SO_ATTACH_FILTER")


class Link:
    """One client's connection, and the one to the server behind it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends = (client, server)
        self.is_cut = False


class Proxy:
    """Listens on a loopback port and forwards to another, in a thread of its own; use it as a context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._links: list[Link] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ended = False

    def __enter__(self) -> Proxy:
        """Start to forward."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and close everything."""
        self._ended = True
        self._thread.join(timeout=5)
        with self._lock:
            for link in self._links:
                self._close(link)
            self._listener.close()

    @property
    def links(self) -> list[Link]:
        """Return the connections that are whole."""
        with self._lock:
            return [link for link in self._links if not link.is_cut]

    def reset(self, link: Link) -> None:
        """End a connection with RST on both sides."""
        with self._lock:
            for end in link.ends:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._forget(link)

    def cut(self, link: Link) -> None:
        """Lose every packet from now on, without a word to either side."""
        with self._lock:
            if link in self._links and not link.is_cut:
                link.is_cut = True
                for end in link.ends:
                    self._selector.unregister(end)
                    _go_deaf(end)

    def _serve(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(timeout=0.1):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data in self._links and not key.data.is_cut:
                        self._forward(key.data, key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            client.close()
            return
        link = Link(client, server)
        self._links.append(link)
        for end in link.ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.settimeout(5)
            self._selector.register(end, selectors.EVENT_READ, link)

    def _forward(self, link: Link, source: object) -> None:
        client, server = link.ends
        here, there = (client, server) if source is client else (server, client)
        try:
            data = here.recv(65536)
            if data:
                there.sendall(data if here is client else self.seen(data))
                return
        except OSError:
            pass
        self._forget(link)

    def seen(self, data: bytes) -> bytes:
        """Return what the client gets to see of what the server sends."""
        return data

    def _forget(self, link: Link) -> None:
        if link in self._links:
            self._links.remove(link)
            self._close(link)

    def _close(self, link: Link) -> None:
        for end in link.ends:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()
