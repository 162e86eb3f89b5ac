"""Reads the models that users send, and writes the manifest of each.

A model comes as an exported archive, as weights for an installed architecture, or as a module in
memory. Each of them becomes a clean archive.
"""
