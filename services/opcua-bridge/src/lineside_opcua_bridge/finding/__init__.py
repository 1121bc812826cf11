"""From the texts in the settings to nodes of the server that is connected now."""
