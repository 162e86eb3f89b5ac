"""Large contents, addressed by their digest: local folder or any fsspec URL."""
