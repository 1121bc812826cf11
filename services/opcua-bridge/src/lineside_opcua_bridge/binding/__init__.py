"""The nodes of the settings on the connected server: found, checked for their use, and bound to a session."""
