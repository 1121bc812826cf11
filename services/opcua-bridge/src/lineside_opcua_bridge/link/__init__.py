"""The connection to the PLC: session, calls, and subscriptions whose losses are always reported."""
