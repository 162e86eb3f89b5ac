"""Results of jobs: all media types, the plots, and the report with the verdict in words."""
