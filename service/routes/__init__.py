"""One file a resource; a route says what it takes and answers, and leaves mistakes to the table of problems."""

from service.routes import datasets, jobs, methods, metrics, models, operations, pictures, results

ROUTERS = [
    models.router,
    datasets.router,
    methods.router,
    jobs.router,
    results.router,
    pictures.router,
    operations.router,
    metrics.router,
]
