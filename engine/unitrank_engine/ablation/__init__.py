"""Ablation tests rankings by replacing units.

It replaces the first units of a ranking, and compares the drop of F with the drops of random
orders.
"""
