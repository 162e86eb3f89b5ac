"""Nodes that are actors of a Ray cluster.

- `connection`: connects to Ray, and sets Ray's environment.
- `machines`: the machines of the cluster.
- `actor`: a node as an actor; Ray's processes run it.
- `calls`: the calls of actors that have not ended.
- `nodes`: hands ranges to the actors.
"""
