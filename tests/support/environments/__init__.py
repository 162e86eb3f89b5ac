"""Environments with this project, or with an installed package of an operator."""
