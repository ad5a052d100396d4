"""Watches a process from its first line: each connection that leaves this machine becomes a line of the file in WATCH_FILE.

Python runs it at the start of each process whose PYTHONPATH begins with this folder. See tests/test_privacy.py.
"""

import os
import socket
import sys
import traceback

LOCAL = ("", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::", socket.gethostname())


def note(event: str, arguments: tuple) -> None:
    if event not in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        return
    host = arguments[0] if event.startswith("socket.get") else arguments[1]
    if isinstance(host, tuple):
        host = host[0]
    elif event in ("socket.connect", "socket.sendto"):
        return  # a socket of this machine, such as AF_UNIX
    host = host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host or "")
    if host not in LOCAL:
        callers = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(traceback.extract_stack()[-8:-1]))
        with open(os.environ["WATCH_FILE"], "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{' '.join(sys.argv)[:80]}: {event} {host} {callers}\n")


sys.addaudithook(note)
