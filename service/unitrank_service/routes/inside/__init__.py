"""Pages that look inside a result: a unit, and the examples of a cluster."""

from unitrank_service.routes.inside.unit_page import router

__all__ = ["router"]
