"""That the metrics count what the server answered, and never show a text."""

from pathlib import Path

from tests.serving.http import SECRET, series, server


def test_metrics_count_requests_labels_and_batches(tiny_bundle: Path) -> None:
    with server(tiny_bundle) as (client, _):
        label = client.post("/predict", json={"text": "the film was very good"}).json()["label"]
        client.post("/predict", json={"text": ""})
        client.get(f"/{SECRET}")
        client.post("/predict/batch", json={"texts": ["good " * 500, "bad"]})
        counted = series(client)
        text = client.get("/metrics").text
    assert counted['sentiment_requests_total{route="/predict",status="200"}'] == 1
    assert counted['sentiment_requests_total{route="/predict",status="422"}'] == 1
    assert counted['sentiment_requests_total{route="unmatched",status="404"}'] == 1
    assert counted['sentiment_request_seconds_count{route="/predict"}'] == 2
    assert counted[f'sentiment_labels_total{{label="{label}"}}'] >= 1
    assert sum(value for name, value in counted.items() if name.startswith("sentiment_labels_total")) == 3
    assert counted["sentiment_score_count"] == 3
    assert counted["sentiment_truncated_texts_total"] == 1
    assert counted["sentiment_batch_texts_sum"] == 3
    assert counted["sentiment_batch_tokens_sum"] > 32
    assert counted["sentiment_queue_texts"] == 0
    assert [value for name, value in counted.items() if name.startswith("sentiment_model_info")] == [1]
    assert SECRET not in text
