"""How often the verdicts are wrong on noise, and how often they find true scores.

Command: `python -m benchmarks.calibration`.
"""
