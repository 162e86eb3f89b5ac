"""Random networks of the operators that an archive may contain, and changes of their archives."""
