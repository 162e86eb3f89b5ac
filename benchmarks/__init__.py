"""Commands that measure Unitrank. Each prints its figures; most need only the installation."""
