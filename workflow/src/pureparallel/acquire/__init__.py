"""Data from outside: which exposures there are, and their files and references, fetched and checked."""
