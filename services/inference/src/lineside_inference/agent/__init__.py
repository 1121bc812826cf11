"""The service of SageMaker Edge Manager's agent, on a unix socket: its clients run unchanged against any model here.

Source of what it is: the agent's public clients and documentation. Names of messages and calls are its own.
"""
