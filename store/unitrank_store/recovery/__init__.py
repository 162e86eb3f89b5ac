"""What repairs the store: lost jobs, garbage, corrupt keys."""
