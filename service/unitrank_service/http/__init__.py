"""Requests and responses, whatever the resource: limits, authentication, strict JSON."""
