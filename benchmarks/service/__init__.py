"""The speed of the service: jobs, uploads and results over HTTP."""
