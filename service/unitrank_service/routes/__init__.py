"""The routes, one file for each resource. A route catches no errors; `problems` answers them."""

from unitrank_service.routes import datasets, deliveries, jobs, methods, metrics, models, operations, pages, plots, results, session

ROUTERS = [
    models.router,
    datasets.router,
    methods.router,
    jobs.router,
    deliveries.router,
    results.router,
    plots.router,
    operations.router,
    metrics.router,
    pages.router,
    session.router,
]
