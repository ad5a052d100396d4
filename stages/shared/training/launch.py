"""One process or many: SENTIMENT_LAUNCH, e.g. "torchrun --nproc-per-node 2", has a launcher start a stage over."""

import os
import shlex
import sys

from stages.shared.errors import StageError


def is_main_process() -> bool:
    """Tell whether this process writes outputs and tracking: the first one that a launcher starts, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def launch(module: str) -> None:
    """Start the same command over as SENTIMENT_LAUNCH says; the processes that it starts do not see the variable.

    Raises StageError where it cannot be run.
    """
    line = os.environ.pop("SENTIMENT_LAUNCH", "")
    try:
        if wanted := shlex.split(line):
            os.execvp(wanted[0], [*wanted, "-m", module, *sys.argv[1:]])
    except (OSError, ValueError) as error:
        raise StageError(f"SENTIMENT_LAUNCH cannot be run ({error}: {line}): correct it or unset it") from None
