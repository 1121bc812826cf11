"""The sources of the joined metrics: the services, Triton, this machine, its containers, drift from what is desired."""
