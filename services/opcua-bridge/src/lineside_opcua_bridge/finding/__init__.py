"""Finds the nodes that the settings name on the connected server."""
