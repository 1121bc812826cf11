"""How evidence leaves: batches are sealed and leased to destinations; what may be dropped makes room."""
