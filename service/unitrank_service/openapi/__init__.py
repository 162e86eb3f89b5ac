"""The OpenAPI document: FastAPI's own, completed with problems, webhooks and examples."""
