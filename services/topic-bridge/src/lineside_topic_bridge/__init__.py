"""The topic-bridge: a request from the bus becomes a call of the inference service, its result goes back."""
