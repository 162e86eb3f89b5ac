"""Reuse of earlier jobs' results.

Fingerprints identify the results (parts). Wrappers look up the parts of clusters, scores and fill
tests before they are computed.
"""
