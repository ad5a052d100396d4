"""The file in a multipart form, whose content is passed on as it comes."""

from collections.abc import AsyncGenerator, AsyncIterator

from fastapi import HTTPException
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MAX_BOUNDARY_LENGTH, MultipartParser, parse_options_header

from serving.tables.formats import ENDINGS, MEDIA_TYPES
from serving.tables.rows import RowsBroken

KINDS = {media_type: kind for kind, media_type in MEDIA_TYPES.items()} | {"application/ndjson": "ndjson", "application/jsonl": "ndjson"}
WANTED = f"send {', '.join(MEDIA_TYPES.values())}, or a form with a file that ends in {', '.join(ENDINGS)}"


class Upload:
    """The first file of a multipart form, as its chunks come."""

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        _, options = parse_options_header(content_type)
        self._chunks = chunks
        self._headers: dict[str, str] = {}
        self._name, self._value = b"", b""
        self._kind: str | None = None
        self._found: list[bytes] = []
        self._over = False
        self._broken = False
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= MAX_BOUNDARY_LENGTH:
            raise HTTPException(422, "the form has no usable boundary")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._on_end,
            },
        )

    async def kind(self) -> str:
        """Read until the file begins; return what it is."""
        async for chunk in self._chunks:
            self._parse(chunk)
            if self._kind is not None:
                return self._kind
            self._refuse_broken()
        raise HTTPException(422, "the form holds no file")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the content of the file; what follows it in the form is read and dropped."""
        while True:
            found, self._found = b"".join(self._found), []
            if found:
                yield found
            self._refuse_broken()
            try:
                self._parse(await anext(self._chunks))
            except StopAsyncIteration:
                if not self._over:
                    raise RowsBroken("the form ends in the middle of the file") from None
                return

    def _parse(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            self._broken = True  # what came before it is good

    def _refuse_broken(self) -> None:
        if self._broken:
            raise HTTPException(422, "the form cannot be read")

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", "").replace("filename*=", "filename="))
        name = options.get(b"filename")
        if name is None or self._kind is not None:
            return
        ending = "." + name.decode("latin-1").rpartition(".")[2].lower()
        kind = ENDINGS.get(ending) or KINDS.get(self._headers.get("content-type", "").partition(";")[0].strip().lower())
        if kind is None:
            raise HTTPException(415, WANTED)
        self._kind = kind

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._kind is not None and not self._over:
            self._found.append(data[start:end])

    def _on_end(self) -> None:
        self._over = self._over or self._kind is not None
