"""A core device's deployer: carries out recipes as the classic nucleus does, on this machine.

    document       a deployment as it is written: components, versions, configuration updates, policies
    recipe         a recipe as it is written, and what of it fits one platform
    configuration  merge and reset of a component's configuration
    variables      recipe variables, in the dialects of both nuclei
    resolution     which versions go together, and in which order they start
    lifecycle      a component's states: what is done next, what an error leads to
    plan           what a deployment changes: which components are installed again, started again, left alone

    preparing      a component made ready to run: its steps after expansion, in one nucleus' manner

All of these are pure. At the live edge are:

    scripts        a step's script, its environment and log, and how it is ended
    artifacts      files from a folder, images of the local engine
    component      one component as it lives
    store          what is kept on disk for a core that is started again
    nucleus        the core: its components, the IPC server, deployments
    rehearse       `lineside greengrass rehearse`

What it does is as the public source of the classic nucleus has it; it was not compared with a running one.
"""
