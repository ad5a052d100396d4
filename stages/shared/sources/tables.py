"""What the stages and commands use of the readers in serving.tables. Only this package imports them."""

from serving.tables.delimited import SEPARATORS
from serving.tables.errors import SHOWN, shortened
from serving.tables.facts import SourceFacts
from serving.tables.labelled import AUTO, LIST_SEPARATOR, ReadOptions
from serving.tables.names import LABEL, TEXT, Kind, named

__all__ = ["AUTO", "LABEL", "LIST_SEPARATOR", "SEPARATORS", "SHOWN", "TEXT", "Kind", "ReadOptions", "SourceFacts", "named", "shortened"]
