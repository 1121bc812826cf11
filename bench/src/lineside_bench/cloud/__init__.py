"""A stand-in for the cloud: the APIs of AWS IoT Greengrass V2 and of IoT's thing groups and jobs, over simulated cores.

It speaks the wire that boto3 speaks, by botocore's own model of each service: `AWS_ENDPOINT_URL_GREENGRASSV2` and
`AWS_ENDPOINT_URL_IOT` point there. Time goes only by ticks, one a minute, so what the devices do is the same each time.
"""
