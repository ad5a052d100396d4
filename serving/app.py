"""The HTTP server as an ASGI app, for `uvicorn serving.app:app`. `python -m serving` starts it too, with several workers if wanted."""

from serving.web.application import create_app
from serving.web.connections import bound_connections

bound_connections()
app = create_app()
