"""Which rows are ranked together: the clusters, the halves that test each other, and who is in which."""
