"""One file a resource; a route says what it takes and answers, and leaves mistakes to the table of problems."""

from service.routes import datasets, jobs, methods, models, operations, results

ROUTERS = [models.router, datasets.router, methods.router, jobs.router, results.router, operations.router]
