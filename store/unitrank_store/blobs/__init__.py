"""Blobs: large contents, stored under their digests in a local folder or at an fsspec URL."""
