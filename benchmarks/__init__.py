"""Side-by-side comparisons: each module is a script that prints one table of results."""
