"""HTTP/1.1 as a client: an address taken apart once."""
