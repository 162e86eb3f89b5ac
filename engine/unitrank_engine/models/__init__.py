"""Models from what users have: exported archives, installed architectures with weights, eager modules."""
