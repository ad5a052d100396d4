"""The command line of a stage: named paths come in, one error message and an exit code go out.

Every stage runs as `python -m stages.<name>` with a flag for each path. dvc.yaml owns the paths, so no flag has a default.
"""

import argparse
import errno
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar, get_type_hints

from serving.inference.errors import InferenceError
from stages.shared import outputs
from stages.shared.environment import EnvironmentInvalid, old_names_in_use, read_environment
from stages.shared.errors import StageError, first_line

WAY_BACK = "To restore the outputs that this stage had before, undo your last change (-S changes params.yaml), and type: dvc repro"

SPINS = "1000"  # of a thread of torch that waits. libgomp has 300,000, by which two trainings on shared cores take far longer

log = logging.getLogger("command")


@dataclass(frozen=True)
class Paths:
    """The files of a stage. A subclass adds its own: each field is a flag, and its annotation is the help text."""

    params: Annotated[Path, "params.yaml"]


PathsT = TypeVar("PathsT", bound=Paths)


@contextmanager
def stage(docstring: str | None, fields: type[PathsT]) -> Iterator[PathsT]:
    """Parse the flags, set up logging, and turn a failure inside the block into an error message and an exit code.

    Exit codes: 1 for a failure with a message, 130 for Ctrl-C, 143 for SIGTERM. `--debug` shows the traceback.
    """
    parser = argparse.ArgumentParser(description=(docstring or "").strip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(fields, include_extras=True).items():
        parser.add_argument(f"--{name.replace('_', '-')}", required=True, type=Path, metavar="PATH", help=hint.__metadata__[0])
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    values = vars(parser.parse_args())
    debug = values.pop("debug")
    try:
        _set_up(read_environment().log_level)
    except EnvironmentInvalid as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with outputs.all_or_none():
            yield fields(**values)
    except (StageError, InferenceError) as error:
        _exit(str(error), 1, debug=debug, hint=WAY_BACK if _runs_in_the_workspace() else "")
    except KeyboardInterrupt:
        _exit("interrupted: no output is left incomplete. The same command starts again", 130, debug=debug)
    except _Terminated:
        _exit("terminated: no output is left incomplete. The same command starts again", 128 + signal.SIGTERM, debug=debug)
    except MemoryError:
        _exit("out of memory: docs/how-to/troubleshooting.md names the params to lower", 1, debug=debug)
    except Exception as error:
        if not _cannot_write(error):
            raise
        where = getattr(error, "filename", None) or "an output"
        _exit(f"cannot write {where} ({first_line(error)}): free disk space or correct the permissions, then run again", 1, debug=debug)


def _cannot_write(error: BaseException | None) -> bool:
    """Recognize a full disk or missing permissions, also inside an error of a library."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
            return True
        if re.search(r"No space left|os error (28|122|27)\b|disk is full|file write failed", str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _set_up(level: str) -> None:
    """Log to stderr, and keep libraries off the console, off the network and off busy cores. A variable that the user has set stays.

    No stage imports torch or MLflow before this, because they read their variables when they are imported.
    """
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for variable, value in {
        "DO_NOT_TRACK": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "0" if sys.stderr.isatty() else "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
    }.items():
        os.environ.setdefault(variable, value)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    for library in ("httpx", "httpx2", "filelock", "alembic", "onnx_ir", "onnxscript", "torch.onnx", "matplotlib", "fontTools", "datasets"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"torch\.(onnx|export).*|onnxscript.*|copyreg")
    for old, new in old_names_in_use().items():
        log.warning("the variable %s is now called %s: rename it, because the next version reads the new name only", old, new)


class _Terminated(BaseException):
    """The process got SIGTERM."""


def _terminate(*_: object) -> None:
    raise _Terminated


def _runs_in_the_workspace() -> bool:
    """Tell whether DVC runs this stage in the main checkout. By hand, or with --temp or --queue, nothing is removed there."""
    root = read_environment().dvc_root
    return root is not None and root.resolve() == Path.cwd().resolve()


def _exit(message: str, code: int, *, debug: bool, hint: str = "") -> NoReturn:
    if debug:
        raise
    print(f"ERROR: {message}", file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
    raise SystemExit(code) from None
