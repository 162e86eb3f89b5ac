"""The routes of the pages about several jobs: the list, and the comparison."""
