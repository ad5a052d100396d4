"""The file in a multipart form: forms of all clients, cut anywhere."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterable

import httpx2 as httpx
import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from serving.tables.rows import RowsBroken
from serving.web.uploads import Upload
from tests.serving.http import CSV, FIELD, FORM_DATA, NDJSON, SMALL, form, part, rows_of, send_file


@pytest.mark.parametrize(
    ("disposition", "headers"),
    [
        ('form-data; name="file"; filename="reviews.CSV"', ()),
        ('form-data; name="x"; filename="감성(최종).csv"', ("Content-Type: application/vnd.ms-excel",)),
        ("form-data; name=\"file\"; filename*=utf-8''%EB%A6%AC%EB%B7%B0.csv", ()),
        ("form-data; name=file; filename=a.csv; filename*=\"utf-8''b.csv\"", ()),
        ('form-data; name="file"; filename="a;b\\"c.csv"', ()),
        ('form-data; name="file"; filename="C:\\dir\\reviews.csv"', ()),
        ('form-data; name="file"; filename="reviews"', ("Content-Type: text/csv; charset=utf-8", "X-Other: 최고")),
    ],
)
def test_format_of_a_file_follows_its_name_or_else_its_type(client: httpx.Client, disposition: str, headers: tuple[str, ...]) -> None:
    answer = send_file(client, FORM_DATA, form(FIELD, part(SMALL, disposition, *headers)))
    assert answer.status_code == 200, answer.text
    assert [row["text"] for row in rows_of(CSV, answer.text)] == ["the film was good"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM_DATA, b"\r\n" + form(part(SMALL))),
        (FORM_DATA, form(part(SMALL)) + b"an epilogue"),
        (FORM_DATA, form(part(SMALL)).removesuffix(b"\r\n")),
        (FORM_DATA, form(FIELD, part(SMALL).replace(b"--B\r\n", b"--B \t\r\n"))),
        (FORM_DATA, form(part(SMALL), part(b"text\nof a second file\n"))),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', form(part(SMALL)).replace(b"--B", b"--a b")),
        (f"multipart/form-data; boundary={'-' * 60}B", form(part(SMALL)).replace(b"--B", b"--" + b"-" * 60 + b"B")),
    ],
    ids=["line before", "epilogue", "no last line end", "padding", "second file", "quoted boundary", "boundary of dashes"],
)
def test_forms_of_all_clients_are_read(client: httpx.Client, content_type: str, body: bytes) -> None:
    answer = send_file(client, content_type, body)
    assert answer.status_code == 200, answer.text
    assert [(row["text"], row["error"]) for row in rows_of(CSV, answer.text)] == [("the film was good", "")]


def test_client_of_a_common_library_sends_a_form(client: httpx.Client) -> None:
    answer = client.post("/predict/file", files={"file": ("리뷰.ndjson", b'{"text": "good"}')}, data={"more": "fields"})
    assert [row["text"] for row in rows_of(NDJSON, answer.text)] == ["good"]


async def _uploaded(body: bytes, cuts: Iterable[int]) -> tuple[str, bytes]:
    """Return the format and the content of the file in a form that arrives in chunks, cut at these places."""

    async def chunks() -> AsyncIterator[bytes]:
        for start, end in itertools.pairwise([0, *sorted(place for place in cuts if place < len(body)), len(body)]):
            yield body[start:end]

    upload = Upload(FORM_DATA, chunks())
    return await upload.format(), b"".join([chunk async for chunk in upload.chunks()])


@given(
    content=st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--B", b"\r\n--", b"\r\n--B", b"a"]), max_size=12).map(b"".join),
    around=st.lists(st.sampled_from([FIELD, part(b""), part(b"--B", 'form-data; name="b"')]), max_size=2),
    cuts=st.lists(st.integers(0, 400), max_size=30),
)
def test_file_is_the_same_wherever_the_form_is_cut(content: bytes, around: list[bytes], cuts: list[int]) -> None:
    content = re.sub(rb"(?<=\r\n--)B(?=\r\n|--|[ \t]|$)", b"C", content)  # it would be a real boundary
    fields = [each for each in around if b"filename" not in each]
    body = form(*fields, part(content), *around)
    assert asyncio.run(_uploaded(body, cuts)) == ("csv", content)


@given(body=st.lists(st.sampled_from([b"--B", b"\r\n", b"--", FIELD, part(SMALL), b"a: b", b"\0", b"--B--\r\n"]), max_size=8).map(b"".join))
def test_any_form_is_read_or_refused(body: bytes) -> None:
    try:
        asyncio.run(_uploaded(body, range(len(body))))
    except HTTPException as error:
        assert error.status_code in (415, 422)  # noqa: PT017
    except RowsBroken as error:
        assert "middle of the file" in str(error)  # noqa: PT017
