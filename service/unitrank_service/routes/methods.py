"""The methods with their options."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from unitrank_schemas.base import Page
from unitrank_schemas.checks import nearest
from unitrank_schemas.methods import METHODS, MethodCard, card
from unitrank_service.errors import HttpProblem
from unitrank_service.http.requests import Route
from unitrank_service.http.responses import answer
from unitrank_service.openapi.descriptions import problems

router = APIRouter(prefix="/v1/methods", tags=["methods"], route_class=Route)


@router.get("", response_model=Page[MethodCard], responses=problems(401, 403))
async def list_methods(request: Request) -> Response:
    """List all methods, each with the JSON Schema of its options."""
    return answer(request, Page[MethodCard](items=[card(name) for name in METHODS]))


@router.get("/{name}", response_model=MethodCard, responses=problems(401, 403, 404))
async def get_method(request: Request, name: Annotated[str, Path(description="Name of the method.")]) -> Response:
    """Get a method with the JSON Schema of its options."""
    if name not in METHODS:
        raise HttpProblem("method_not_found", f"method {name[:100]!r} not found{nearest(name, METHODS)}")
    return answer(request, card(name))
