"""HTTP for all resources: authentication, limits, strict JSON, uploads, responses."""
