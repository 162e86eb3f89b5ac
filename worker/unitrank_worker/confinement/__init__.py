"""Limits of a child: the files that it opens, and its system calls."""
