"""Support for tests of the documentation: its examples, notebooks, edits and tables."""
