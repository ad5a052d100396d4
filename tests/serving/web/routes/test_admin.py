"""`POST /admin/reload` and `/admin/rollback`: no lost and no wrong answer under load, and no broken bundle in use."""

import json
import shutil
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest

from serving.inference.bundle import read_bundle, write_manifest
from serving.inference.classifier import Classifier
from tests.serving.http import ADMIN_KEY, ADMIN_KEYS, AS_ADMIN, SECRET, assert_refused, own_client, server

TEXTS = ["the film was very good", "the food was bad", "staff and phone", "awful " * 50]


def reload(client: httpx.Client, folder: Path | None = None) -> httpx.Response:
    return client.post("/admin/reload", json={"folder": str(folder)}) if folder else client.post("/admin/reload")


def expected_answers(*folders: Path) -> dict[str, list[tuple[str, dict[str, float]]]]:
    """Class name and scores of each text, by the sha256 of the bundle."""
    answers = {}
    for folder in folders:
        classifier = Classifier.load(folder, threads=1)
        names, predictions = classifier.bundle.class_names, classifier.predict(TEXTS)
        answers[classifier.bundle.sha256] = [
            (names[label_id], pytest.approx(dict(zip(names, scores, strict=True)), abs=1e-5))
            for label_id, scores in zip(predictions.label_ids, predictions.probabilities.tolist(), strict=True)
        ]
    return answers


def test_no_request_is_lost_under_load_and_each_answer_is_that_of_the_bundle_it_names(
    admin: httpx.Client, tiny_bundle: Path, other_bundle: Path
) -> None:
    expected = expected_answers(tiny_bundle, other_bundle)
    done = threading.Event()

    def ask() -> list[httpx.Response]:
        answers = []
        with own_client(admin, headers=AS_ADMIN) as own:
            while not done.is_set():
                answers.append(own.post("/predict/batch?detail=true", json={"texts": TEXTS}))
                answers.append(own.post("/predict?detail=true", json={"text": TEXTS[0]}))
        return answers

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask) for _ in range(6)]
        try:
            changes = [reload(admin, folder) for _ in range(3) for folder in (other_bundle, tiny_bundle)]
            changes += [admin.post("/admin/rollback") for _ in range(3)]
        finally:
            done.set()
        answers = [answer for future in asking for answer in future.result()]
    first, second = (read_bundle(folder).sha256 for folder in (tiny_bundle, other_bundle))
    assert [(change.status_code, change.json()["sha256"]) for change in changes] == [
        (200, sha256) for sha256 in [second, first] * 3 + [second, first, second]
    ]
    assert {answer.status_code for answer in answers} == {200}
    named = set()
    for answer in answers:
        results = answer.json().get("results") or [answer.json()]
        (sha256,) = {result["model"] for result in results}
        assert [(result["class_name"], result["scores"]) for result in results] == expected[sha256][: len(results)]
        named.add(sha256)
    assert named == {first, second}


def truncate(folder: Path) -> None:
    (folder / "model_int8.bin").write_bytes(b"")


def lose_its_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def have_other_reference_answers(folder: Path) -> None:
    file = folder / "bundle.json"
    manifest = json.loads(file.read_text("utf-8"))
    manifest["reference_probabilities"] = {name: [row[::-1] for row in rows] for name, rows in manifest["reference_probabilities"].items()}
    file.write_text(json.dumps(manifest), "utf-8")


def end_in_the_middle(folder: Path) -> None:
    file = folder / "bundle.json"
    file.write_bytes(file.read_bytes()[:1000])


def have_a_folder_as_manifest(folder: Path) -> None:
    (folder / "bundle.json").unlink()
    (folder / "bundle.json").mkdir()


def have_a_tokenizer_of_another_version(folder: Path) -> None:
    bundle = read_bundle(folder)
    (folder / "tokenizer.json").write_text('{"version": "9"}', "utf-8")
    write_manifest(bundle)  # the manifest has the sha256 of the new file


def vanish(folder: Path) -> None:
    shutil.rmtree(folder)


DAMAGES = [
    truncate,
    lose_its_tokenizer,
    have_a_tokenizer_of_another_version,
    have_other_reference_answers,
    end_in_the_middle,
    have_a_folder_as_manifest,
    vanish,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_broken_bundle_is_refused_and_the_old_one_keeps_serving(
    admin: httpx.Client, other_bundle: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    before, answer = admin.get("/model").json(), admin.post("/predict?detail=true", json={"text": TEXTS[0]}).json()
    damage(folder := Path(shutil.copytree(other_bundle, tmp_path / "broken")))
    assert_refused(reload(admin, folder), 409, "keeps the bundle in use", str(folder))
    assert admin.get("/model").json() == before
    after = admin.post("/predict?detail=true", json={"text": TEXTS[0]}).json()
    assert {**after, "request_id": ""} == {**answer, "request_id": ""}
    assert_refused(admin.post("/admin/rollback"), 409, "no previous bundle")
    assert reload(admin, other_bundle).json()["classes"] == ["no", "yes"]


def test_reload_without_a_folder_loads_the_one_in_use_again_and_rollback_restores_the_previous_bundle(
    copied_bundle: Path, other_bundle: Path
) -> None:
    with server(copied_bundle, SENTIMENT_API_KEYS=ADMIN_KEYS) as (client, _):
        client.headers.update(AS_ADMIN)
        first = client.get("/model").json()
        shutil.rmtree(copied_bundle)
        shutil.copytree(other_bundle, copied_bundle)
        assert client.get("/model").json() == first
        for way in ({}, {"json": {}}, {"json": {"folder": None}}):  # the same bundle again: the first one stays the previous one
            assert client.post("/admin/reload", **way).json()["classes"] == ["no", "yes"]
        assert client.post("/admin/rollback").json() == first
        assert client.post("/admin/rollback").json()["classes"] == ["no", "yes"]


def test_reloads_at_the_same_time_run_one_by_one_and_each_answer_names_its_own_bundle(
    admin: httpx.Client, tiny_bundle: Path, other_bundle: Path
) -> None:
    def ask(folder: Path) -> tuple[int, str, str]:
        with own_client(admin, headers=AS_ADMIN) as own:
            answer = reload(own, folder)
            return answer.status_code, answer.json()["sha256"], read_bundle(folder).sha256

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, [tiny_bundle, other_bundle] * 3))
    assert [status for status, _, _ in answers] == [200] * 6
    assert [named for _, named, _ in answers] == [wanted for _, _, wanted in answers]


def test_client_that_leaves_during_a_reload_does_no_harm(admin: httpx.Client, tiny_bundle: Path, other_bundle: Path) -> None:
    body = json.dumps({"folder": str(other_bundle)}).encode()
    head = f"POST /admin/reload HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_KEY}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    for sent in (head, head + body[:5], head + body, head + body):
        with socket.create_connection((str(admin.base_url.host), admin.base_url.port or 0)) as connection:
            connection.sendall(sent)
    assert admin.post("/predict", json={"text": "good"}).status_code == 200
    assert reload(admin, other_bundle).json()["classes"] == ["no", "yes"]
    assert admin.post("/admin/rollback").json()["classes"] == ["negative", "positive"]


def test_key_is_checked_before_the_body_is_read_and_a_bad_body_is_not_echoed(admin: httpx.Client) -> None:
    large, bad = b" " * 3_000_000, b'{"%s' % SECRET.encode()
    for body in (large, bad, b""):
        for value, status in (("", 401), ("Bearer", 401), ("Bearer another", 401), ("Bearer a client's", 403)):
            assert_refused(admin.post("/admin/reload", content=body, headers={"authorization": value}), status)
    secret = SECRET.encode()
    bodies = [b"[]", b'"%s"' % secret, b'{"%s": 1}' % secret, b'{"folder": ["%s"]}' % secret, b'{"folder": "\\ud800%s"}' % secret]
    for body in [bad, *bodies, b"\xff", b"[" * 100_000, b'{"folder": 1}']:
        assert_refused(admin.post("/admin/reload", content=body), 422, '{"folder": "<bundle folder>"}')
    assert_refused(admin.post("/admin/reload", content=large), 413)
    assert_refused(reload(admin, Path("a\0b")), 409)
    assert_refused(reload(admin, Path("a" * 10_000)), 409)
    assert admin.get("/model").json()["classes"] == ["negative", "positive"]


def test_metrics_name_the_bundle_in_use(admin: httpx.Client, tiny_bundle: Path, other_bundle: Path) -> None:
    reload(admin, other_bundle)
    named = dict(line.split() for line in admin.get("/metrics").text.splitlines() if line.startswith("sentiment_model_info{"))
    by_bundle = {read_bundle(folder).sha256: value for folder, value in ((tiny_bundle, 0), (other_bundle, 1))}
    assert {sha256: float(value) for name, value in named.items() for sha256 in by_bundle if sha256 in name} == by_bundle
