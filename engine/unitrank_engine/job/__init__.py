"""The inputs of one job: examples, clusters, baselines, fills, targets, units, random streams."""
