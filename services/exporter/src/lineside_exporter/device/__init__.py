"""What the machine itself says: a Jetson by sysfs and tegrastats, a discrete NVIDIA GPU by NVML.

Tested on recorded outputs, trees of files and a table of functions with NVML's own interface; not run on a device.
"""
