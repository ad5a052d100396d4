"""Settings of the server, from environment variables that begin with SENTIMENT_."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """model: bundle folder. cors_origins: origins whose pages may call the server, as a JSON list; none by default."""

    model_config = SettingsConfigDict(env_prefix="SENTIMENT_", frozen=True)

    model: Path = Path("models/serving")
    threads: int | None = None
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 2 * 1024 * 1024
    max_characters: int = 20_000
