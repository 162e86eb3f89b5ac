"""One file a resource; a route says what it takes and answers, and leaves mistakes to the table of problems."""

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
