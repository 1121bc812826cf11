"""A service as a component of AWS IoT Greengrass: its configuration, the changes of it, and its state.

configuration   the component's configuration as a layer of the settings
changes         which changed settings are applied at once, and which need a new start
watch           follows the configuration while the service runs, and judges what a deployment proposes
state           RUNNING, once the service is ready
"""
