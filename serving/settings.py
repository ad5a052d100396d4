"""Settings of the server: environment variables that begin with SENTIMENT_ come in, checked values go out."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

Role = Literal["predict", "admin"]
Origin = Annotated[str, Field(pattern=r"^(\*|null|[a-z][a-z0-9+.-]*://[^/]+)$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Settings(BaseSettings):
    """All settings. The descriptions are the text of docs/reference/settings.md."""

    model_config = SettingsConfigDict(env_prefix="SENTIMENT_", env_ignore_empty=True, frozen=True)

    model: Path = Field(default=Path("models/serving"), description="Folder of the bundle.")
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="CPU cores for inference; if unset, all cores that the process may use."
    )
    cors_origins: tuple[Origin, ...] = Field(
        default=(), description="Origins whose pages may call the server, as a JSON list of addresses without a path."
    )
    max_body_bytes: int = Field(
        default=2 * 1024 * 1024, ge=1, description="Maximum size of a request body in bytes, except for a file; a larger body gets a 413."
    )
    max_characters: int = Field(
        default=20_000, ge=1, description="Maximum length of a text in characters; a longer text gets a 422, or an `error` in its place."
    )
    max_texts: int = Field(default=256, ge=1, description="Maximum number of texts in a request to `/predict/batch`; more texts get a 422.")
    max_waiting: int = Field(
        default=1024,
        ge=1,
        description="Maximum number of texts that wait or run in each worker; beyond it a request gets a 503, unless it comes alone.",
    )
    max_file_bytes: int = Field(
        default=10 * 1024**3, ge=1, description="Maximum size of a file in bytes; a larger file gets a 413, or a last row with an `error`."
    )
    max_files: int = Field(
        default=8, ge=1, description="Maximum number of files that each worker classifies at a time; one more file gets a 503."
    )
    request_timeout: float = Field(
        default=30.0,
        gt=0,
        description="Timeout in seconds: to receive headers, a body or the next chunk of a file; to answer; "
        "and for the client to read a streamed answer.",
    )
    api_keys: dict[Digest, Role] = Field(
        default={}, description="Role (`predict` or `admin`) by the sha256 of a key, as a JSON object; `python -m serving.keys` prints it."
    )
    rate_limit: float | None = Field(
        default=None,
        ge=1e-6,
        allow_inf_nan=False,
        description="Requests per second of each key in the long run, for each worker; beyond it a request gets a 429; if unset, no limit.",
    )
    rate_burst: int = Field(default=20, ge=1, description="Requests that a key may make at once, for each worker, if a rate limit is set.")
    state: Path | None = Field(
        default=None, description="Folder in which several workers agree on the bundle; each run of the server needs a new one."
    )
    cache: Path | None = Field(
        default=None, description="Folder for the models that an engine has compiled; it makes the next start faster."
    )
    access_log: bool = Field(
        default=True, description="Whether the server writes a JSON line for each request to standard output; it never contains a text."
    )


def read_settings() -> Settings:
    """Read the environment; end the process with an error message if a variable has no usable value."""
    if (folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR")) and not Path(folder).is_dir():
        raise SystemExit(f"ERROR: PROMETHEUS_MULTIPROC_DIR is {folder!r}, which is not a folder: make it first")
    try:
        return Settings()
    except ValidationError as error:
        problems = [_problem(str(part["loc"][0]), f"is {part['input']!r}: {part['msg'].lower()}") for part in error.errors()]
    except SettingsError as error:
        problems = [_problem(str(error).partition('"')[2].partition('"')[0], 'is not JSON: write a list as ["one", "two"]')]
    raise SystemExit("ERROR: " + "; ".join(dict.fromkeys(problems)))


def _problem(name: str, problem: str) -> str:
    """Name a setting and what is wrong with it, but show nothing that may be a key."""
    if name == "api_keys":
        problem = 'must hold {"<sha256 of a key>": "predict" or "admin"}: `python -m serving.keys` prints it'
    return f"SENTIMENT_{name.upper()} {problem}"
