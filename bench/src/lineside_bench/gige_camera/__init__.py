"""A simulated GigE Vision camera: GVCP, GVSP and GenICam over real sockets, and every fault of one on request."""
