"""What leaves the spool: sealing batches, leasing them to destinations, deleting, dropping, exporting."""
