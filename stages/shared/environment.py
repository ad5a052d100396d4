"""The environment variables that steer the graph, and the list of those that libraries read.

In: os.environ, at each call and never at import. Out: checked values. None of them changes a result; params.yaml holds what does.
The class is a plain pydantic model, because pydantic-settings adds 80 ms to each `--help`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from stages.shared.errors import StageError

OLD_NAMES = {"REPORT": "SENTIMENT_REPORT", "PREPROCESS_MEMORY": "SENTIMENT_PREPROCESS_MEMORY"}  # valid until version 0.3.0

OF_LIBRARIES = {  # variables that a library owns: what it does with them here
    "GOMP_SPINCOUNT": "How long a waiting thread of torch spins. The stages set 1000, so that trainings can share cores.",
    "HF_ENDPOINT": "Address of the Hugging Face Hub or of a mirror; `base_model` and `make dataset` read it.",
    "HF_HOME": "Folder of the Hugging Face cache. A model that is in it needs no network.",
    "HF_HUB_OFFLINE": "`1` forbids connections to the Hub.",
    "HF_TOKEN": "Token for private models and data sets of the Hub.",
    "HTTPS_PROXY": "Proxy for connections to the Hub.",
    "NO_COLOR": "Any value switches colours off in `make run` and `make report`.",
    "TMPDIR": "Folder for the temporary files of `preprocess` and the commands.",
    "RANK": "Number of this process among all of a training. The launcher sets it, as it sets the next two.",
    "WORLD_SIZE": "Number of processes of a training on all hosts.",
    "LOCAL_WORLD_SIZE": "Number of processes of a training on this host; they share its memory.",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "Collector to which the server sends traces; other `OTEL_` variables work too.",
    "PROMETHEUS_MULTIPROC_DIR": "Folder in which several workers collect their metrics. `python -m serving` makes one.",
}

Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)]


class EnvironmentInvalid(StageError):
    """An environment variable has a value that the graph does not accept."""

    def __init__(self, problems: list[tuple[str, Any, str]]) -> None:
        super().__init__("\n".join(f"{name} is {value!r}: {expected}. Correct it or unset it" for name, value, expected in problems))


class Environment(BaseModel):
    """All variables. The aliases are their names, and the descriptions are the text of docs/reference/environment.md."""

    model_config = ConfigDict(frozen=True)

    report: Literal["now", "later"] = Field(
        default="now",
        alias="SENTIMENT_REPORT",
        description="Whether a stage prints its report now, or the caller prints the saved reports later, as `make run` does.",
    )
    log_level: Level = Field(default="INFO", alias="LOG_LEVEL", description="Lowest level of the log lines that a stage prints.")
    preprocess_memory: str = Field(
        default="1GB",
        alias="SENTIMENT_PREPROCESS_MEMORY",
        description="Memory for the rows of `preprocess`, e.g. `500MB`; more rows go to the disk. Libraries take 150 MB more.",
    )
    launch: str = Field(
        default="",
        alias="SENTIMENT_LAUNCH",
        description="Command that starts `train` in several processes, e.g. `torchrun --nproc-per-node 2`; if unset, one process trains.",
    )
    checkpoint_seconds: float = Field(
        default=300.0,
        ge=0,
        alias="SENTIMENT_CHECKPOINT_SECONDS",
        description="Seconds from one checkpoint of a training to the next, which is the most work that a kill can cost.",
    )
    dvc_root: Path | None = Field(
        default=None,
        alias="DVC_ROOT",
        description="Main checkout, which holds the MLflow store and the checkpoints. DVC sets it for a stage; if unset, the root of git.",
    )
    dvc_exp_name: str = Field(
        default="", alias="DVC_EXP_NAME", description="Name of the DVC experiment, which becomes the name of the run. DVC sets it."
    )
    mlflow_tracking_uri: str = Field(
        default="",
        alias="MLFLOW_TRACKING_URI",
        description="MLflow store for the runs; if unset, `mlflow.db` in the main checkout. A relative sqlite path starts there too.",
    )


def read_environment() -> Environment:
    """Return the variables that are set and not empty; raise EnvironmentInvalid for a value that is not accepted."""
    values = {name: value for name, value in os.environ.items() if value}
    renamed = {new: old for old, new in old_names_in_use().items() if new not in values}
    try:
        return Environment.model_validate(values | {new: values[old] for new, old in renamed.items()})
    except ValidationError as error:
        problems = [(str(detail["loc"][0]), detail["input"], detail["msg"]) for detail in error.errors()]
    raise EnvironmentInvalid([(renamed.get(name, name), value, f"{text[:1].lower()}{text[1:]}") for name, value, text in problems])


def old_names_in_use() -> dict[str, str]:
    """Return the new name of each variable that is set by its old one. A REPORT with another value than `later` is not ours."""
    return {old: new for old, new in OLD_NAMES.items() if os.environ.get(old) and (old != "REPORT" or os.environ[old] == "later")}
