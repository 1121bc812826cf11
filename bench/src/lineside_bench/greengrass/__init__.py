"""A core device on the bench: what AWS IoT Greengrass V2 is to a component, without AWS."""
