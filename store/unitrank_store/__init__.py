"""The state that outlives a process: records, queue, contents, results, API keys, and settings."""
