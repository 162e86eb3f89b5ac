"""Models and datasets: formats, imports from a URI, and their JSON bodies."""
