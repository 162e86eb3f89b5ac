"""Compares the results of a graph with the trace of torch, and finds unwritten results."""
