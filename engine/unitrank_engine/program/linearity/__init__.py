"""Where a graph is linear: in which values, from which inputs on, and how far behind a place."""
