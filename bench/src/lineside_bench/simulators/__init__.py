"""The simulated PLC and the simulated cameras as two services, for a line whose peers are containers."""
