"""Facts: the model and the dataset that a request is checked against, and parts of messages."""
