"""A named device shadow as a source of the policy: `desired` is a wish, `reported` says what is in force.

documents   pure: what a shadow's documents say, and what is reported
health      pure: how the line stands, as it is reported
sync        pure: what is to be read and sent next
source      live: the adapter
ports       what a transport of the documents does
ipc         transport: the shadow service of the classic nucleus; the way of topics through a nucleus
topics      transport: the same documents over the reserved topics of AWS IoT
opening     which of them the settings mean
"""
