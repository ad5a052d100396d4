"""The columns of text and label are found, or the error names the found columns and the param to set."""

import pytest

from stages.shared.sources.errors import ColumnMissing
from tests.stages.shared.sources.reading import rows, written


def test_a_missing_column_is_refused_with_the_found_columns_and_the_param(tmp_path):
    with pytest.raises(
        ColumnMissing, match=r"no column 'label' \(found: 'text', 'stars'\): name the right one in preprocess\.label_column"
    ):
        rows(written(tmp_path, "text,stars\nfine,5\n"), label_column="label")


def test_a_git_lfs_pointer_instead_of_the_data_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "utf-8")
    with pytest.raises(ColumnMissing, match=r"has no column 'text' .*: name the right one in preprocess\.text_column"):
        rows(tmp_path / "a.csv")
