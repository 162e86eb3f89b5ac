"""The result of a job: its summary, warnings and heatmaps."""
