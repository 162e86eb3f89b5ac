"""Values of single examples, and their sums over clusters."""
