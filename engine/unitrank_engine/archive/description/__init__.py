"""Schemas of an archive's description of its program and tensors, with the checks of each value.

The description is the JSON that torch.export writes.
"""
