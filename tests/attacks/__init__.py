"""Everything that a stranger may send instead of a model or a table; made by the tests, never stored."""
