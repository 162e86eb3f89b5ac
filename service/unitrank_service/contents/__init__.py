"""Models and datasets: imports, checks, and how clients see them."""
