"""Two versions of Unitrank on one store."""
