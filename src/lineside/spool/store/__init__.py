"""Records and blobs on the disk: the SQLite files, writing, reading, deleting, locks, capacity, quarantine."""
