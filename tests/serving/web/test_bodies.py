"""Bodies of requests: which are read, and that a bad one gets a status and an error message that never quotes it."""

import gzip
import json

import httpx2 as httpx
import psutil
import pytest

from tests.serving.http import FORM, JSON, MULTIPART, NDJSON, SECRET, answers_to_stalled_bodies, assert_refused, statuses, text_form

secret = SECRET.encode()


@pytest.mark.parametrize(("path", "body"), [("/predict", '{"text": "good"}'), ("/predict/batch", '{"texts": ["good"]}')])
@pytest.mark.parametrize(("encoding", "status"), [("utf-8-sig", 200), ("utf-16", 422)])
def test_json_may_begin_with_a_byte_order_mark_but_must_be_utf_8(
    client: httpx.Client, path: str, body: str, encoding: str, status: int
) -> None:
    answer = client.post(path, content=body.encode(encoding), headers={"Content-Type": "application/json"})
    assert answer.status_code == status


def test_longest_text_is_answered(client: httpx.Client) -> None:
    assert client.post("/predict", json={"text": "좋" * 20_000}).status_code == 200


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml", "application/jsonx"])
def test_other_content_type_is_refused_with_the_accepted_ones(client: httpx.Client, content_type: str) -> None:
    answer = client.post("/predict", content=f'{{"text": "{SECRET}"}}', headers={"content-type": content_type} if content_type else {})
    assert_refused(answer, 415, "application/json", "application/x-www-form-urlencoded", "multipart/form-data")


REFUSED = {
    "empty text": (JSON, b'{"text": ""}', "empty"),
    "blank text": (JSON, '{"text": " \\n\\t\u3000"}'.encode(), "empty"),
    "text that is empty after cleaning": (JSON, '{"text": "\u200b<br />&nbsp;"}'.encode(), "empty"),
    "empty body": (JSON, b"", ""),
    "empty form": (FORM, b"", "text"),
    "empty text in a form": (FORM, b"text=", "empty"),
    "empty text in a multipart form": (MULTIPART, text_form(b""), "empty"),
    "missing text": (JSON, b'{"txt": "%s"}' % secret, "text"),
    "missing text in a form": (FORM, b"txt=%s" % secret, "text"),
    "missing text in a multipart form": (MULTIPART, text_form(secret, 'form-data; name="txt"'), "text"),
    "number": (JSON, b'{"text": 5, "more": "%s"}' % secret, "text"),
    "null": (JSON, b'{"text": null}', "text"),
    "list": (JSON, b'{"text": ["%s"]}' % secret, "text"),
    "object": (JSON, b'{"text": {"%s": 1}}' % secret, "text"),
    "not a number": (JSON, b'{"text": NaN, "more": "%s"}' % secret, ""),
    "text without an object": (JSON, b'"%s"' % secret, ""),
    "list of texts": (JSON, b'["%s"]' % secret, ""),
    "broken JSON": (JSON, b'{"text": "%s' % secret, "JSON"),
    "escape of a surrogate": (JSON, b'{"text": "%s \\ud800"}' % secret, ""),
    "escape of NUL": (JSON, b'{"text": "%s \\u0000"}' % secret, "NUL"),
    "NUL in a form": (FORM, b"text=%s%%00" % secret, "NUL"),
    "NUL in a multipart form": (MULTIPART, text_form(secret + b"\0"), "NUL"),
    "deep JSON": (JSON, b'{"text": ' + b"[" * 100_000 + b'"%s"' % secret, ""),
    "deep JSON beside the text": (JSON, b'{"text": "%s", "x": ' % secret + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    "JSON that is not UTF-8": (JSON, b'{"text": "%s \xff"}' % secret, ""),
    "JSON in CP949": (JSON, f'{{"text": "{SECRET} 최고"}}'.encode("cp949"), ""),
    "form that is not UTF-8": (FORM, b"text=%s%%FF" % secret, "UTF-8"),
    "multipart form that is not UTF-8": (MULTIPART, text_form(secret + b" \xff"), "UTF-8"),
    "file in place of the text": (MULTIPART, text_form(secret, 'form-data; name="text"; filename="a.txt"'), ""),
    "multipart form without a boundary": ({"content-type": "multipart/form-data"}, text_form(secret), ""),
    "multipart form without a form": (MULTIPART, secret, ""),
    "a thousand fields": (FORM, b"&".join(b"f%d=%s" % (number, secret) for number in range(1000)), ""),
    "20,001 characters": (JSON, '{{"text": "{} {}"}}'.format(SECRET, "좋" * 19_989).encode(), "20,000"),
    "20,001 characters in a form": (FORM, b"text=%s+" % secret + b"a" * 19_989, "20,000"),
    "a million characters in a form": (FORM, b"text=%s+" % secret + b"a" * 1_200_000, "20,000"),
    "a million characters in a multipart form": (MULTIPART, text_form(secret + b"a" * 1_200_000), ""),
}


@pytest.mark.parametrize(("headers", "body", "word"), REFUSED.values(), ids=REFUSED)
def test_bad_body_gets_422_and_an_error_message_without_an_echo(
    client: httpx.Client, headers: dict[str, str], body: bytes, word: str
) -> None:
    assert_refused(client.post("/predict", content=body, headers=headers), 422, word)
    assert client.post("/predict", json={"text": "good"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (JSON, b'{"texts": "%s"}' % secret, 422),
        (JSON, b'{"text": ["%s"]}' % secret, 422),
        (JSON, b'["%s"]' % secret, 422),
        (JSON, b'{"texts": ["%s"' % secret, 422),
        (JSON, b'{"texts": ' + b"[" * 100_000, 422),
        (JSON, b'{"texts": ["\xff%s"]}' % secret, 422),
        (FORM, b"texts=%s" % secret, 415),
        (JSON, b" " * (2 * 1024 * 1024 + 1), 413),
    ],
    ids=["not a list", "other field", "list without an object", "broken", "deep", "not UTF-8", "form", "too large"],
)
def test_bad_body_of_a_batch_gets_an_error_message_without_an_echo(
    client: httpx.Client, headers: dict[str, str], body: bytes, status: int
) -> None:
    assert_refused(client.post("/predict/batch", content=body, headers=headers), status)


@pytest.mark.parametrize("headers", [JSON, FORM, MULTIPART], ids=lambda headers: headers["content-type"])
def test_body_over_two_megabytes_is_refused_with_and_without_a_length(client: httpx.Client, headers: dict[str, str]) -> None:
    size = 2 * 1024 * 1024 + 1
    begun = {JSON["content-type"]: b'{"text": "%s' % secret, FORM["content-type"]: b"text=%s" % secret}
    body = begun.get(headers["content-type"], text_form(secret)).ljust(size, b" ")
    assert_refused(client.post("/predict", content=body, headers=headers), 413)
    assert_refused(client.post("/predict", content=iter([body[:1000], body[1000:]]), headers=headers), 413)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/predict/file"])
def test_body_that_stalls_gets_408_and_the_end_while_others_get_answers(
    hasty_server: tuple[httpx.Client, psutil.Process], path: str
) -> None:
    media_type = NDJSON if path == "/predict/file" else "application/json"
    for answer in answers_to_stalled_bodies(hasty_server[0], path, media_type):
        assert statuses(answer) == [408]
        assert b"connection: close" in answer.lower()
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"detail"}


@pytest.mark.parametrize(
    ("path", "headers"), [("/predict", JSON), ("/predict", FORM), ("/predict/batch", JSON), ("/predict/file", {"content-type": NDJSON})]
)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
def test_compressed_body_is_refused_and_not_read(client: httpx.Client, path: str, headers: dict[str, str], coding: str) -> None:
    bomb = gzip.compress(b" " * 100 * 1024 * 1024, compresslevel=1) if coding == "gzip" else b"abc"
    assert_refused(client.post(path, content=bomb, headers={**headers, "content-encoding": coding}), 415, "Content-Encoding")
