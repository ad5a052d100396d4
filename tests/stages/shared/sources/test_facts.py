"""The facts of several files are merged, and keep the form in which the metrics show them."""

from stages.shared.sources.facts import SourceRead
from stages.shared.sources.tables import SourceFacts


def test_each_different_value_is_kept_once_in_the_order_of_the_files():
    first, second = SourceFacts.of_file(format="delimited", separator="tab"), SourceFacts.of_file(format="delimited", separator="comma")
    assert (first | second | first).as_text() == {"format": "delimited", "separator": "tab | comma"}


def test_guessed_columns_of_several_files_are_named_once():
    facts = SourceFacts(guessed=("text",)) | SourceFacts(guessed=("text", "label"))
    assert facts.guessed == ("text", "label")
    assert facts.as_text() == {"guessed": "text and label"}


def test_facts_that_do_not_apply_are_left_out_and_empty_names_stay():
    facts = SourceFacts.of_file(format="json", text_column="")
    assert SourceRead(2, "ab", facts).as_values() == {"rows": 2, "sha256": "ab", "format": "json", "text_column": ""}
