"""The HTTP service: a FastAPI application, its web pages, and its webhooks."""
