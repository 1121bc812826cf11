"""Tags by a collector's messages instead of a session of our own."""
