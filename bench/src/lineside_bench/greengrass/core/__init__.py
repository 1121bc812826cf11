"""A core device's deployer: carries out recipes as the classic nucleus does, on this machine.

    document       a deployment as it is written: components, versions, configuration updates, policies
    recipe         a recipe as it is written, and what of it fits one platform
    configuration  merge and reset of a component's configuration
    variables      recipe variables, in the dialects of both nuclei
    resolution     which versions go together, and in which order they start
    lifecycle      a component's states: what is done next, what an error leads to
    plan           what a deployment changes: which components are installed again, started again, left alone

All of these are pure. What they do is as the public source of the classic nucleus has it; it was not compared with a
running one.
"""
