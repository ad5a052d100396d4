"""That the OpenAPI document describes the bodies in all their forms."""

import httpx2 as httpx

from tests.serving.http import CSV, NDJSON, TSV


def test_document_describes_the_body_of_a_text_in_all_its_forms(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 200
    post = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert set(post["responses"]) >= {"200", "413", "415", "422"}
    for media_type in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data"):
        schema = post["requestBody"]["content"][media_type]["schema"]
        assert schema["properties"]["text"]["type"] == "string"
        assert schema["required"] == ["text"]


def test_document_describes_the_file_in_all_its_forms(client: httpx.Client) -> None:
    post = client.get("/openapi.json").json()["paths"]["/predict/file"]["post"]
    assert set(post["requestBody"]["content"]) == {CSV, TSV, NDJSON, "multipart/form-data"}
    assert post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["file"]["format"] == "binary"
    assert set(post["responses"]) >= {"200", "408", "413", "415", "422", "503"}
    assert set(post["responses"]["200"]["content"]) == {CSV, TSV, NDJSON}
    assert [parameter["name"] for parameter in post["parameters"]] == ["column", "detail"]


def test_document_begins_with_what_people_come_for(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert [tag["name"] for tag in document["tags"]] == ["Classify", "Status", "Admin"]
    assert list(document["paths"])[:3] == ["/predict", "/predict/batch", "/predict/file"]
    assert {tag for methods in document["paths"].values() for route in methods.values() for tag in route["tags"]} == {
        tag["name"] for tag in document["tags"]
    }


def test_document_has_an_example_of_each_form_of_the_answer_and_of_each_failure(client: httpx.Client) -> None:
    responses = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]
    examples = [example["value"] for example in responses["200"]["content"]["application/json"]["examples"].values()]
    text = {"text": "The battery lasts two days and the screen is lovely."}
    assert [set(example) for example in examples] == [
        set(client.post(f"/predict{query}", json=text).json()) for query in ("", "?detail=true")
    ]
    failures = {status: response["content"]["application/json"]["example"] for status, response in responses.items() if status != "200"}
    assert set(failures) == {"401", "408", "413", "415", "422", "429", "503"}
    assert failures["413"] == {"detail": "the body is too large"}
