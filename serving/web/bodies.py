"""Bodies of requests: JSON or a form comes in, a text or texts go out. A bad body gets an error message that never quotes it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request
from pydantic import ValidationError
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from serving.inference.text import why_unreadable
from serving.web.schemas import PredictRequest
from serving.web.state import server_of

MAX_FIELDS = 20  # fields of a form; the server reads only `text`
TEXT = '{"text": "..."}'
TEXTS = '{"texts": ["...", "..."]}'


async def read_text(request: Request) -> str:
    """Return the text of a JSON or form body; raise 408, 413, 415 or 422."""
    content_type = content_type_of(request)
    try:
        if content_type == "application/json":
            text = PredictRequest.model_validate_json(_decode_json(await read_body(request))).text
        elif content_type == "application/x-www-form-urlencoded":
            fields = parse_qsl((await read_body(request)).decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
            text = PredictRequest.model_validate(dict(fields)).text
        elif content_type == "multipart/form-data":
            text = PredictRequest.model_validate(await _read_multipart(request)).text
        else:
            raise HTTPException(
                415, "the body has another type: send application/json, application/x-www-form-urlencoded or multipart/form-data"
            )
    except ValidationError as error:
        raise HTTPException(422, _first_problem(error)) from None
    except UnicodeDecodeError:
        raise HTTPException(422, "the body is not UTF-8: send it in UTF-8") from None
    except MultiPartException as error:
        raise HTTPException(422, f"{error.message.rstrip('.')}: let your HTTP client build the form") from None
    except ValueError:
        raise HTTPException(422, f"the form has more than {MAX_FIELDS} fields: send one, text") from None
    if problem := text_problem(text, server_of(request).settings.max_characters):
        raise HTTPException(422, problem)
    return text


async def read_texts(request: Request) -> list[object]:
    """Return the items of `texts` in a JSON body, of any type; raise 408, 413, 415 or 422."""
    if content_type_of(request) != "application/json":
        raise HTTPException(415, "the body has another type: send application/json")
    try:
        body = json.loads(_decode_json(await read_body(request)))
    except UnicodeDecodeError:
        raise HTTPException(422, "the body is not UTF-8: send it in UTF-8") from None
    except (ValueError, RecursionError):
        raise HTTPException(422, f"the body is not JSON: send {TEXTS}") from None
    texts = body.get("texts") if isinstance(body, dict) else None
    if not isinstance(texts, list):
        raise HTTPException(422, f"the body has no list of texts: send {TEXTS}")
    limit = server_of(request).settings.max_texts
    if len(texts) > limit:
        raise HTTPException(422, f"texts has more than {limit:,} items: send them in several requests")
    return texts


def text_problem(text: object, max_characters: int) -> str | None:
    """Return why a text cannot be classified; None if it can."""
    if isinstance(text, str) and len(text) > max_characters:
        return f"text has more than {max_characters:,} characters: shorten it"
    return why_unreadable(text)


async def read_body(request: Request) -> bytes:
    """Read the body; raise 413 as soon as it is too large, and 408 if it does not arrive in time."""
    settings, body = server_of(request).settings, bytearray()
    try:
        async with asyncio.timeout(settings.request_timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_body_bytes:
                    raise HTTPException(413, f"the body has more than {settings.max_body_bytes:,} bytes: send a shorter one")
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {settings.request_timeout:g} seconds: send it without a pause") from None
    except ClientDisconnect:
        raise HTTPException(
            400, "the body is shorter than its length: send the request again"
        ) from None  # for the log: the client has left
    return bytes(body)


def content_type_of(request: Request) -> str:
    """Return the content type in lower case, without parameters; raise 415 for a compressed body: a small one may hold gigabytes."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "send the body uncompressed, without Content-Encoding", {"Accept-Encoding": "identity"})
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _decode_json(body: bytes) -> str:
    """Decode JSON, which is UTF-8; some clients begin it with a byte order mark."""
    return body.decode("utf-8-sig")


async def _read_multipart(request: Request) -> dict[str, object]:
    """Read the fields of a multipart form that is UTF-8 in all its parts and has no file."""
    body = await read_body(request)
    body.decode()

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    form = await MultiPartParser(request.headers, chunks(), max_files=0, max_fields=MAX_FIELDS, max_part_size=len(body)).parse()
    return dict(form)


def _first_problem(error: ValidationError) -> str:
    """Return the first problem of a body and the remedy, without anything of the body."""
    kind = error.errors(include_input=False, include_context=False, include_url=False)[0]["type"]
    problems = {"json_invalid": "the body is not JSON", "missing": "the body has no text", "string_type": "text is not a string"}
    return f"{problems.get(kind, 'the body has no usable text')}: send {TEXT}"
