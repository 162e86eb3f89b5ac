"""One file a resource; a route says what it takes and answers, and leaves mistakes to the table of problems."""

from service.routes import datasets, deliveries, jobs, methods, metrics, models, operations, pages, pictures, results, session

ROUTERS = [
    models.router,
    datasets.router,
    methods.router,
    jobs.router,
    deliveries.router,
    results.router,
    pictures.router,
    operations.router,
    metrics.router,
    pages.router,
    session.router,
]
