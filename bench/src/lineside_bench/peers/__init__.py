"""What the services talk to, beside the PLC: the MQTT broker, the cameras and the CPU Triton."""
