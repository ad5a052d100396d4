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
