"""What can go wrong with one HTTP request, other than a status.

HttpError
├── ConnectFailed
└── ResponseTooLarge
"""


class HttpError(Exception):
    """The peer closed the connection before the response was complete, or sent what is no HTTP."""


class ConnectFailed(HttpError):
    """There was no connection at all."""


class ResponseTooLarge(HttpError):
    """The response has more bytes than its bound."""
