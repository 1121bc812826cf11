"""The HTTP/1.1 client of this service, for images from cameras and hosts and for servers that take large bodies.

`client` keeps connections and is what others use, `connection` is one of them, `response_head` and `body_reader` parse
what comes, leniently where RFC 9112 allows it, and `target` is an address taken apart. It imports nothing of the rooms
that use it.
"""
