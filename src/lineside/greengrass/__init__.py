"""A service as a component of AWS IoT Greengrass: who it is there, its configuration and the changes of it, its state.

services        the names that Greengrass itself has
component       what the nucleus put into the environment
client          the one connection of the process to the nucleus
refusals        what the nucleus' errors mean, and what to add to the recipe
configuration   the component's configuration as a layer of the settings
model_uri       where a deployment brings models from
changes         which changed settings are applied at once, and which need a new start
watch           follows the configuration while the service runs, and judges what a deployment proposes
nucleus         what a component asks and tells the nucleus about itself
state           RUNNING, once the service is ready; as a command, for a component whose program cannot say it
steered         all of it together, for the service of this process
"""
