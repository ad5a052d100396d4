"""The command line of a stage: named paths in, one sentence and an exit code out.

Every stage is run as `python -m stages.<name>` with a flag for each path; dvc.yaml owns the paths, so no flag has a default.
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
from typing import Annotated, TypeVar, get_type_hints

from serving.inference.errors import InferenceError
from stages.shared import outputs
from stages.shared.errors import StageError

WAY_BACK = (
    "The last good outputs come back with: git restore dvc.lock metrics; dvc checkout "
    "(undo the change in params.yaml or the source first; a clone that has made none yet needs dvc repro)"
)


@dataclass(frozen=True)
class Paths:
    """The files of a stage. A subclass names its own: each field is a flag, its annotation the help text."""

    params: Annotated[Path, "params.yaml"]


PathsT = TypeVar("PathsT", bound=Paths)


@contextmanager
def stage(docstring: str | None, fields: type[PathsT]) -> Iterator[PathsT]:
    """Parse the flags, set up logging, and turn a failure inside the block into a sentence and an exit code.

    Exit codes: 1 the stage said why, 130 interrupted, 143 terminated. `--debug` shows the traceback.
    """
    parser = argparse.ArgumentParser(description=(docstring or "").strip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(fields, include_extras=True).items():
        parser.add_argument(f"--{name.replace('_', '-')}", required=True, type=Path, metavar="PATH", help=hint.__metadata__[0])
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    values = vars(parser.parse_args())
    debug = values.pop("debug")
    level = os.environ.get("LOG_LEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        parser.error(f"LOG_LEVEL is {level!r}: set it to DEBUG, INFO, WARNING or ERROR")
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    _quiet_libraries()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with outputs.all_or_none():
            yield fields(**values)
    except (StageError, InferenceError) as error:
        _leave(str(error), 1, debug=debug)
    except KeyboardInterrupt:
        _leave("interrupted: nothing half-done was written", 130, debug=debug)
    except _Terminated:
        _leave("terminated: nothing half-done was written", 128 + signal.SIGTERM, debug=debug)
    except MemoryError:
        _leave("out of memory: see Troubleshooting in README.md for the params to lower", 1, debug=debug)
    except Exception as error:
        if not _cannot_write(error):
            raise
        where = getattr(error, "filename", None) or "an output"
        _leave(f"cannot write {where} ({_first_line(error)}). Free space or rights, then run again", 1, debug=debug)


def _cannot_write(error: BaseException | None) -> bool:
    """Tell a full disk or missing rights from other errors, also where a library gives them a class of its own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
            return True
        if re.search(r"No space left|os error (28|122|27)\b|disk is full|file write failed", str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


def _quiet_libraries() -> None:
    """Keep the libraries' own chatter off the console and off the network; what the user has set stays."""
    for variable, value in {
        "DO_NOT_TRACK": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "0" if sys.stderr.isatty() else "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
    }.items():
        os.environ.setdefault(variable, value)
    for chatty in ("httpx", "httpx2", "filelock", "alembic", "onnx_ir", "onnxscript", "torch.onnx", "matplotlib", "fontTools", "datasets"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"torch\.(onnx|export).*|onnxscript.*|copyreg")


class _Terminated(BaseException):
    """SIGTERM has come."""


def _terminate(*_: object) -> None:
    raise _Terminated


def _leave(sentence: str, code: int, *, debug: bool) -> None:
    if debug:
        raise
    print(f"ERROR: {sentence}\n{WAY_BACK}", file=sys.stderr)
    raise SystemExit(code) from None
