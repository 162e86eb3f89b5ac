"""The catalogue of methods."""

from fastapi import APIRouter, Request, Response

from api_schemas.base import Page
from api_schemas.checks import nearest
from api_schemas.methods import METHODS, MethodCard, card
from service.answers import answer
from service.documents import problems
from service.errors import Refused
from service.requests import Route

router = APIRouter(prefix="/v1/methods", tags=["methods"], route_class=Route)


@router.get("", response_model=Page[MethodCard], responses=problems(401, 403))
async def list_methods(request: Request) -> Response:
    """Every method, with the JSON Schema of its options."""
    return answer(request, Page[MethodCard](items=[card(name) for name in METHODS]))


@router.get("/{name}", response_model=MethodCard, responses=problems(401, 403, 404))
async def get_method(request: Request, name: str) -> Response:
    """One method."""
    if name not in METHODS:
        raise Refused("method_not_found", f"method {name[:100]!r} not found{nearest(name, METHODS)}")
    return answer(request, card(name))
