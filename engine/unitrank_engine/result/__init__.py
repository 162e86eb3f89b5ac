"""The result of a job: its summary, its arrays, its warnings and its heatmaps."""
