"""How a source was read: the values that the log, the metrics and the report show.

In: what each reader found out about its file. Out: one `SourceFacts` for all files of a source.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class SourceFacts:
    """The facts of all files of a source. A field holds each different value once, in the order of the files.

    A field is empty where it does not apply. guessed: `text` or `label`, where the column was chosen by its values.
    """

    format: tuple[str, ...] = ()
    encoding: tuple[str, ...] = ()
    separator: tuple[str, ...] = ()
    quoting: tuple[str, ...] = ()
    title_rows: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    text_column: tuple[str, ...] = ()
    label_column: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    sheet: tuple[str, ...] = ()
    other_sheets: tuple[str, ...] = ()

    @classmethod
    def of_file(cls, **values: str) -> "SourceFacts":
        """Return the facts of one file, which has one value of each."""
        return cls(**{name: (value,) for name, value in values.items()})

    def __or__(self, other: "SourceFacts") -> "SourceFacts":
        """Return the facts of the files of both."""
        names = [field.name for field in fields(self)]
        return SourceFacts(**{name: tuple(dict.fromkeys(getattr(self, name) + getattr(other, name))) for name in names})

    def as_text(self) -> dict[str, str]:
        """Return the facts that apply, each as one text."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: (" and " if name == "guessed" else " | ").join(found) for name, found in values.items() if found}
