"""The operator's policy from several sources: who wishes what, who comes first, and what becomes of it.

wishes          what a source wishes, and what it is told: the port that the adapters share
precedence      pure: which policy follows from all wishes, and which wish is to blame for a refusal
desk            live: hears the sources, asks the inference service, tells the sources
topic           adapter: the retained message on lineside/<thing>/policy
configuration   adapter: the settings, which a Greengrass deployment may change
shadow/         adapter: a named device shadow
"""
