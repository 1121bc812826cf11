"""Where a request's pixels come from."""
