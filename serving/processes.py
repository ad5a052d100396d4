"""Whether a process of the server is alive."""

import os


def is_alive(pid: int) -> bool:
    """Tell whether a worker lives: a process that is not ours only has its number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
