"""Processes, ports and signals of the bench: started, supervised, reserved, and cleaned up after."""
