"""Finds the parts of a graph that are affine, where methods save passes.

An affine value is a linear function plus a constant. `linear` and `affine` classify nodes,
`frontier` follows them from the inputs on, and `columns` follows them from a place on.
"""
