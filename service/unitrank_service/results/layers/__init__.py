"""The parts of a layered result: each layer as a result of its own."""
