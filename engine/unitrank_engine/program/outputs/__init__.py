"""The outputs of a model: what their values are, which axis counts classes, and reduced outputs."""
