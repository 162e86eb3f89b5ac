"""Results of jobs in every media type, plots and report included."""
