"""What runs on the device, told regularly, in the form of Edge Manager's SendHeartbeat.

inference    what the inference service says of its models
made         one heartbeat of all that is known: pure
sending      the latest goes out, and only that
"""
