"""The Open Inference Protocol (KServe v2) over HTTP: any model in Triton, with the service's own bounds around it."""
