"""One process or many: a launcher named in SENTIMENT_LAUNCH, e.g. "torchrun --nproc-per-node 2", starts the stage in several processes.

In: SENTIMENT_LAUNCH, and the variables that a launcher sets for each process. Out: the place of this process among them.
"""

import os
import shlex
import sys

from stages.shared.environment import read_environment
from stages.shared.errors import StageError


class LauncherUnusable(StageError):
    """The command in SENTIMENT_LAUNCH cannot be run."""

    def __init__(self, command: str, error: Exception) -> None:
        super().__init__(f"SENTIMENT_LAUNCH cannot be run ({error}: {command}): correct it or unset it")


def is_main_process() -> bool:
    """Tell whether this process writes outputs and tracking: the first one that a launcher starts, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def process_count() -> int:
    """Return the number of processes of this training, on all hosts."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_on_this_host() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def launch(module: str) -> None:
    """Replace this process by the launcher of SENTIMENT_LAUNCH, which runs the same command; do nothing if the variable is not set.

    The launched processes do not get the variable. Raises LauncherUnusable.
    """
    command = read_environment().launch
    os.environ.pop("SENTIMENT_LAUNCH", None)
    try:
        if words := shlex.split(command):
            os.execvp(words[0], [*words, "-m", module, *sys.argv[1:]])
    except (OSError, ValueError) as error:
        raise LauncherUnusable(command, error) from None
