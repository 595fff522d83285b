"""One module for each outside thing; the only places that import its library."""
