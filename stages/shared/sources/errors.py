"""Errors of a source: those of the readers, as errors of a stage that name the params."""

from collections.abc import Iterator
from contextlib import contextmanager

from serving.tables import errors
from stages.shared.errors import FileUnreadable


class ColumnMissing(FileUnreadable):
    """A table lacks a column that the params name."""


class _ParamNames(dict[str, str]):
    def __missing__(self, option: str) -> str:
        return f"preprocess.{option}"


@contextmanager
def errors_of_readers() -> Iterator[None]:
    """Turn an error of a reader into one of a stage."""
    try:
        yield
    except errors.FileUnreadable as error:
        kind = ColumnMissing if isinstance(error, errors.ColumnNotFound) else FileUnreadable
        raise kind(error.file, error.problem, error.remedy.format_map(_ParamNames())) from None
