"""The simulated line: real peers over real protocols."""
