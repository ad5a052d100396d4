"""The HTTP server as an ASGI app, for `uvicorn serving.app:app`. `python -m serving` starts the same server with any number of workers."""

from serving.web.application import create_app
from serving.web.connections import patch_uvicorn

patch_uvicorn()
app = create_app()
