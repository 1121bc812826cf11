"""Records and blobs on the disk: the SQLite file, its schema, writing, reading, locks and capacity."""
