"""The file in a multipart form: chunks of the form come in, and chunks of the file go out as they arrive."""

from collections.abc import AsyncGenerator, AsyncIterator

from fastapi import HTTPException
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MAX_BOUNDARY_LENGTH, MultipartParser, parse_options_header

from serving.tables.formats import ENDINGS, MEDIA_TYPES
from serving.tables.rows import RowsBroken

FORMATS = {media_type: name for name, media_type in MEDIA_TYPES.items()} | {
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
SEND_A_FILE = f"send {', '.join(MEDIA_TYPES.values())}, or a form with a file that ends in {', '.join(ENDINGS)}"


class Upload:
    """The first file of a multipart form. content_type: of the form. chunks: of the form."""

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        _, options = parse_options_header(content_type)
        self._form = chunks
        self._headers: dict[str, str] = {}
        self._name, self._value = b"", b""
        self._format: str | None = None  # set when the file begins
        self._parsed: list[bytes] = []  # content of the file that `chunks` has not yielded yet
        self._complete = False
        self._broken = False
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= MAX_BOUNDARY_LENGTH:
            raise HTTPException(422, "the form has no usable boundary: let your HTTP client write the Content-Type")
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

    async def format(self) -> str:
        """Read until the file begins; return its format: csv, tsv or ndjson."""
        async for chunk in self._form:
            self._parse(chunk)
            if self._format is not None:
                return self._format
            self._refuse_broken()
        raise HTTPException(422, "the form has no file: add one as a form file")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the content of the file; read and drop what follows it in the form."""
        while True:
            content, self._parsed = b"".join(self._parsed), []
            if content:
                yield content
            self._refuse_broken()
            try:
                self._parse(await anext(self._form))
            except StopAsyncIteration:
                if not self._complete:
                    raise RowsBroken("the form ends in the middle of the file: send the form again") from None
                return

    def _parse(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            self._broken = True  # the content before the error is good

    def _refuse_broken(self) -> None:
        if self._broken:
            raise HTTPException(422, "the form is not valid multipart/form-data: let your HTTP client build it")

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", "").replace("filename*=", "filename="))
        file_name = options.get(b"filename")
        if file_name is None or self._format is not None:
            return
        ending = "." + file_name.decode("latin-1").rpartition(".")[2].lower()
        self._format = ENDINGS.get(ending) or FORMATS.get(self._headers.get("content-type", "").partition(";")[0].strip().lower())
        if self._format is None:
            raise HTTPException(415, SEND_A_FILE)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._format is not None and not self._complete:
            self._parsed.append(data[start:end])

    def _on_end(self) -> None:
        self._complete = self._complete or self._format is not None
