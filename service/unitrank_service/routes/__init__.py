"""The routes, one file for each resource. A route catches no errors; `problems` answers them."""

from unitrank_service.routes import (
    compare,
    datasets,
    deliveries,
    documentation,
    inside,
    jobs,
    methods,
    metrics,
    models,
    operations,
    pages,
    plots,
    results,
    session,
)
from unitrank_service.routes.job_pages import comparison, job_list

ROUTERS = [
    models.router,
    datasets.router,
    methods.router,
    jobs.router,
    deliveries.router,
    results.router,
    compare.router,
    plots.router,
    operations.router,
    metrics.router,
    job_list.router,
    comparison.router,
    pages.router,
    inside.router,
    session.router,
    documentation.router,
]

PATHS = [path for router in ROUTERS for route in router.routes if (path := getattr(route, "path", None))]
FIRST_PARTS = frozenset(path.split("/")[1] for path in [*PATHS, "/openapi.json"])
"""First parts of all paths. A path prefix must not begin with one of them."""
