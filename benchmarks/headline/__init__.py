"""One table: every student at every number of steps, beside the base at as many passes."""
