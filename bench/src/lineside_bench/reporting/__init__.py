"""What came of a run: records of its parts, its evidence, the progress display and the report."""
