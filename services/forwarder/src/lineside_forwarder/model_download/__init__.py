"""Models come from a folder in S3: what a component's `install` runs in a container of its own.

listing     what lies in the folder: which models, which files, within which bounds
failures    what S3's errors mean, in one sentence with the next step
transfer    the files, one by one; what was cut off goes on where it ended
kept        what was fetched, on the disk: whole or known to be in part, and what of it was put into the repository
command     all of it together: `python -m lineside_forwarder.model_download`

It lives with the forwarder because that has the S3 client; the service itself uses none of it.
"""
