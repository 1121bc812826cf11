"""What the page shows of the running line: the latest parts, counts by minute, and who in the chain is up."""
