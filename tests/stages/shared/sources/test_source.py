"""A source gives the rows of all its files without loss, and the facts of how they were read."""

import json

import pytest

from stages.shared.errors import FileUnreadable
from stages.shared.sources.source import Source
from stages.shared.sources.tables import ReadOptions
from tests.stages.shared.sources.reading import TABLE, read, rows, written
from tests.stages.shared.sources.test_aihub import dialogue


@pytest.mark.parametrize(("content", "name"), [("text,label\n", "a.csv"), ("text\tlabel\n\n", "a.tsv"), ("text,label", "a.csv")])
def test_a_header_without_rows_is_refused(tmp_path, content, name):
    with pytest.raises(FileUnreadable, match="has a header but no rows"):
        rows(written(tmp_path, content, name))


def test_shards_may_have_different_encodings_separators_and_headers(tmp_path):
    (tmp_path / "1.csv").write_text(TABLE, "utf-8")
    (tmp_path / "2.tsv").write_bytes("감정없음\t좋은 영화\t1\n그것도\t나쁜 영화\t0\n".encode("cp949"))
    source = Source(tmp_path, ReadOptions({"0", "1"}.__contains__), optional=False)
    assert [(row.text, row.label) for row in source.rows()] == [("good", "1"), ("bad", "0"), ("좋은 영화", "1"), ("나쁜 영화", "0")]
    assert (source.facts.encoding, source.facts.separator) == (("utf-8", "cp949"), ("comma", "tab"))
    assert source.facts.as_text()["encoding"] == "utf-8 | cp949"


PUBLISHED = {
    "sst2/train.tsv": (67_349, "yes", "csv"),
    "sst2/dev.tsv": (872, "yes", "csv"),
    "nsmc/ratings_train.txt": (150_000, "yes", "twice"),
    "nsmc/ratings_test.txt": (50_000, "yes", "twice"),
    "uci/amazon_cells_labelled.txt": (1_000, "no", "csv"),
    "uci/imdb_labelled.txt": (1_000, "no", "none"),
    "uci/yelp_labelled.txt": (1_000, "no", "csv"),
}


@pytest.mark.parametrize(("name", "count", "header", "quoting"), [(name, *values) for name, values in PUBLISHED.items()])
def test_published_data_sets_are_read_without_loss(shared_data, name, count, header, quoting):
    table, found = read(shared_data / name)
    assert (len(table), found["header"]) == (count, header)
    assert {label for _, label in table} == {"0", "1"}
    assert found["quoting"] == quoting or not any('"' in text for text, _ in table)


@pytest.mark.parametrize(("name", "count", "quotes"), [("train", 43_410, 1_097), ("dev", 5_426, 137), ("test", 5_427, 149)])
def test_several_labels_of_a_text_are_read_as_one_value(shared_data, name, count, quotes):
    ids = {str(number) for number in range(28)}
    found = Source(shared_data / f"goemotions/{name}.tsv", ReadOptions(lambda label: set(label.split(",")) <= ids), optional=False)
    table = list(found.rows())
    assert (len(table), sum('"' in row.text for row in table), found.facts.quoting) == (count, quotes, ("csv",))


def test_files_of_the_corpus_and_other_files_are_not_mixed(tmp_path):
    for name in ("1.json", "2.json"):
        written(tmp_path, json.dumps([dialogue()]), name)
    written(tmp_path, json.dumps([{"text": "good", "label": "1"}]), "3.json")
    with pytest.raises(FileUnreadable, match=r"3\.json is not of the AI Hub corpus, unlike the files before it: keep one kind in a folder"):
        rows(tmp_path)
