"""`POST /predict` and `POST /predict/batch`: every way to send a text gets the classifier's own answer."""

from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import pytest

from serving.inference.classifier import Classifier
from tests.serving.http import FORM, JSON, MULTIPART, SECRET, answers_of, assert_refused, series, server, text_form


@pytest.mark.parametrize("text", ["the film was very good", "정말 좋아요 😍 & 100 % + 최고=최고", "<b>bad</b>\r\nfilm", "good " * 3999])
def test_every_way_to_send_a_text_gets_the_classifiers_own_answer(client: httpx.Client, tiny_bundle: Path, text: str) -> None:
    expected = Classifier.load(tiny_bundle, threads=1).predict([text])
    ways: list[Callable[[], httpx.Response]] = [
        lambda: client.post("/predict", json={"text": text}),
        lambda: client.post("/predict", data={"text": text}),
        lambda: client.post("/predict", content=text_form(text.encode()), headers=MULTIPART),
        lambda: client.post("/predict", json={"text": text}, headers={"content-type": "Application/JSON; charset=utf-8"}),
        lambda: client.post("/predict", json={"other": 1, "text": text}),
    ]
    for way in ways:
        answer = way()
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"label": f"LABEL_{expected.label_ids[0]}", "score": pytest.approx(expected.scores[0], abs=1e-5)}


def test_form_may_contain_hangul_without_escapes_as_curl_sends_it(client: httpx.Client) -> None:
    escaped = client.post("/predict", data={"text": "영화 최고"}).json()
    assert client.post("/predict", content="text=영화 최고".encode(), headers=FORM).json() == escaped


def test_detail_adds_everything_about_an_answer(client: httpx.Client, tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle, threads=1)
    text = "the film was very good " * 20
    expected = classifier.predict([text])
    answer = client.post("/predict?detail=true", json={"text": text}, headers={"x-request-id": "abc-1"}).json()
    label_id = int(expected.label_ids[0])
    assert answer == {
        "label": f"LABEL_{label_id}",
        "score": pytest.approx(expected.scores[0], abs=1e-5),
        "class_name": ("negative", "positive")[label_id],
        "scores": pytest.approx(dict(zip(("negative", "positive"), expected.probabilities[0].tolist(), strict=True)), abs=1e-5),
        "uncertain": bool(expected.uncertain[0]),
        "truncated": True,
        "request_id": "abc-1",
        "model": classifier.bundle.sha256,
    }
    assert not client.post("/predict?detail=true", json={"text": "good"}).json()["truncated"]
    assert_refused(client.post("/predict?detail=perhaps", json={"text": "good"}), 422)


def test_batch_answers_in_order_and_reports_a_bad_text_at_its_index(client: httpx.Client) -> None:
    good, bad = (client.post("/predict", json={"text": text}).json() for text in ("the film was very good", "the film was bad"))
    texts = ["the film was very good", "", 7, "the film was bad", None, "a" * 20_001, ["good"], "the film was very good"]
    answer = client.post("/predict/batch", json={"texts": texts})
    assert answer.status_code == 200
    assert answer.json()["results"] == [
        {key: pytest.approx(value, abs=1e-5) if key == "score" else value for key, value in good.items()},
        {"error": "text is empty: send some words"},
        {"error": "text is not a string: send it in quotes"},
        {key: pytest.approx(value, abs=1e-5) if key == "score" else value for key, value in bad.items()},
        {"error": "text is not a string: send it in quotes"},
        {"error": "text has more than 20,000 characters: shorten it"},
        {"error": "text is not a string: send it in quotes"},
        {key: pytest.approx(value, abs=1e-5) if key == "score" else value for key, value in good.items()},
    ]


def test_batch_of_any_size_up_to_the_limit_is_answered(client: httpx.Client) -> None:
    texts = [f"the film was {'good' if number % 3 else 'bad'} {number}" for number in range(256)]
    alone = [client.post("/predict", json={"text": text}).json()["label"] for text in texts[:30]]
    results = client.post("/predict/batch", json={"texts": texts}).json()["results"]
    assert [result["label"] for result in results[:30]] == alone
    assert len(results) == 256
    assert client.post("/predict/batch", json={"texts": []}).json() == {"results": []}
    assert set(client.post("/predict/batch?detail=true", json={"texts": ["good"]}).json()["results"][0]) >= {"class_name", "scores"}
    assert_refused(client.post("/predict/batch", json={"texts": ["good"] * 257}), 422, "256")


def test_surrogate_in_a_batch_is_reported_at_its_index(client: httpx.Client) -> None:
    answer = client.post("/predict/batch", content=b'{"texts": ["%s \\ud800", "good"]}' % SECRET.encode(), headers=JSON)
    assert answer.status_code == 200
    assert "surrogate" in answer.json()["results"][0]["error"]
    assert "label" in answer.json()["results"][1]
    assert SECRET not in answer.text


def test_full_queue_refuses_at_once_with_503_and_no_accepted_request_is_lost(tiny_bundle: Path) -> None:
    with server(tiny_bundle, SENTIMENT_MAX_WAITING="100") as (client, _):

        def ask(own: httpx.Client, number: int) -> tuple[int, str | None, int]:
            answer = own.post("/predict/batch", json={"texts": [f"good film {number} {row}" for row in range(60)]})
            return answer.status_code, answer.headers.get("retry-after"), len(answer.json().get("results", []))

        answers = answers_of(client, ask, clients=24, each=4)
        assert {status for status, _, _ in answers} == {200, 503}
        assert all(count == 60 for status, _, count in answers if status == 200)
        assert all(retry == "1" for status, retry, _ in answers if status == 503)
        assert client.post("/predict", json={"text": "good"}).status_code == 200
        assert series(client)["sentiment_queue_texts"] == 0
