"""What an archive says of its program and tensors: schemas of the JSON that torch.export writes, with what is refused."""
