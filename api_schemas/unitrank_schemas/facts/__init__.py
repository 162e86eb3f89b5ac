"""Facts: what is known of a model and a dataset when a request is checked, and how a flaw is worded."""
