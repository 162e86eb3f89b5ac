"""An archive's description of its program and tensors: schemas of the JSON that torch.export writes, and their checks."""
