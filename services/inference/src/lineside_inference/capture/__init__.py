"""Evidence of what was judged: what is kept, what of it, and its way into the spool."""
