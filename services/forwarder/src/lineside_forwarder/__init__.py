"""Evidence leaves the box: from the spool to its destinations, each with its own progress."""
