"""Settings of the server, from environment variables that begin with SENTIMENT_."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

Role = Literal["predict", "admin"]


class Settings(BaseSettings):
    """model: bundle folder. threads: cores for inference, all that the process is given by default.

    cors_origins: origins whose pages may call the server, as a JSON list; none by default. max_waiting: texts in the queue or
    worked on, per worker. max_files: files in work at a time, per worker. request_timeout: seconds for a body to come, or its next
    part, and for an answer. api_keys: role by the sha256 of each key, as `python -m serving.keys` prints it. rate_limit: requests a
    second of each key in the long run, per worker; rate_burst: at once. state: folder in which several workers agree on the bundle.
    cache: folder where engines keep what they have compiled, for a sooner start. access_log: a JSON line per request, never with a text.
    """

    model_config = SettingsConfigDict(env_prefix="SENTIMENT_", env_ignore_empty=True, frozen=True)

    model: Path = Path("models/serving")
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    cors_origins: tuple[Annotated[str, Field(pattern=r"^(\*|null|[a-z][a-z0-9+.-]*://[^/]+)$")], ...] = ()
    max_body_bytes: Annotated[int, Field(ge=1)] = 2 * 1024 * 1024
    max_characters: Annotated[int, Field(ge=1)] = 20_000
    max_texts: Annotated[int, Field(ge=1)] = 256
    max_waiting: Annotated[int, Field(ge=1)] = 1024
    max_file_bytes: Annotated[int, Field(ge=1)] = 10 * 1024**3
    max_files: Annotated[int, Field(ge=1)] = 8
    request_timeout: Annotated[float, Field(gt=0)] = 30.0
    api_keys: dict[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], Role] = {}
    rate_limit: Annotated[float, Field(ge=1e-6, allow_inf_nan=False)] | None = None
    rate_burst: Annotated[int, Field(ge=1)] = 20
    state: Path | None = None
    cache: Path | None = None
    access_log: bool = True


def settings_of_environment() -> Settings:
    """Read the environment; end the process with a sentence where a variable has no usable value."""
    if (shared := os.environ.get("PROMETHEUS_MULTIPROC_DIR")) and not Path(shared).is_dir():
        raise SystemExit(f"ERROR: PROMETHEUS_MULTIPROC_DIR is {shared!r}, no folder: make it first")
    try:
        return Settings()
    except ValidationError as error:
        problems = [_problem(str(part["loc"][0]), f"is {part['input']!r}: {part['msg'].lower()}") for part in error.errors()]
    except SettingsError as error:
        problems = [_problem(str(error).partition('"')[2].partition('"')[0], 'is no JSON: write a list as ["one", "two"]')]
    raise SystemExit("ERROR: " + "; ".join(dict.fromkeys(problems)))


def _problem(name: str, problem: str) -> str:
    """Name a setting and what is wrong with it, but show nothing of what may be a key."""
    if name == "api_keys":
        problem = 'has to hold {"<sha256 of a key>": "predict" or "admin"}, as `python -m serving.keys` prints it'
    return f"SENTIMENT_{name.upper()} {problem}"
