"""A source after it was read, as the log, the metrics and the report show it."""

from typing import NamedTuple

from serving.tables.facts import SourceFacts


class SourceRead(NamedTuple):
    """A source after it was read to its end. sha256: of its file, or of the names and hashes of all its files."""

    rows: int
    sha256: str
    facts: SourceFacts

    def as_values(self) -> dict[str, int | str]:
        """Return all of it by name, as the metrics and the report show it."""
        return {"rows": self.rows, "sha256": self.sha256, **self.facts.as_text()}
