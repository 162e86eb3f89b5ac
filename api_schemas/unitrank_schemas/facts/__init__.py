"""Facts: the model and the dataset that a request is checked against, and the words of an error."""
