"""A rollout's state: one JSON document, in a file or an S3 object, with a lock beside it."""
