"""Whether a process of the server is alive."""

import os


def is_alive(pid: int) -> bool:
    """Return whether a worker is alive. A process of another user is not a worker: the system has given it the number of a dead one."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
