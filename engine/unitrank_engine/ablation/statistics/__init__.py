"""The statistics of an ablation study: p-values, verdicts, areas, intervals and comparisons."""
