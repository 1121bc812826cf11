"""The simulated line itself: started, fed with parts, observed, and run by the commands."""
