"""Commands that measure Unitrank and print numbers; most commands need only the installation."""
