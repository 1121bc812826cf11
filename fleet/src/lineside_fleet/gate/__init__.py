"""The gate between two stages: whether what was observed lets a staged version go on.

The settings are read without the libraries of statistics, which take longer to load than most commands to run.
"""
