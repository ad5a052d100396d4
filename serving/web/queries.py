"""The query of a request: a parameter that the route does not know is refused, because it would be ignored without a word."""

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute


async def known_query(request: Request) -> None:
    """Raise 422 for an unknown query parameter. The message names the known ones, and quotes nothing of the request."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = [parameter.alias for parameter in route.dependant.query_params]
    if not request.query_params.keys() <= set(known):
        takes = f"knows only {' and '.join(known)}" if known else "takes none"
        raise HTTPException(422, f"the query has an unknown parameter, and this route {takes}: correct or remove it")
