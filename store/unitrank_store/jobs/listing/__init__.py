"""Lists of jobs: the parts of a request that lists show, filters, orders and pages."""
