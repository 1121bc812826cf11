"""The fleet's report, from its devices' heartbeats.

counting   the latest heartbeat of each device, and what is wrong with the others: pure
report     the report of them, in the form of Edge Manager's GetDeviceFleetReport: pure
sources    where heartbeats are: files, a bucket, and by `broker` a broker
"""
