"""Drift of versions: what each core device should run by its deployments, and what it runs.

The deployments are the record. Desired is the newest deployment of each target that a device belongs to; actual is what
the device last reported to Greengrass, and what it says of itself: in heartbeats, and in its shadow.
"""
