"""Examples of all bodies in the OpenAPI document, which belong to one job and its result."""
