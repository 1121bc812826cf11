"""The Greengrass components of the line: what they are made of, their recipes in both dialects, their one script.

`components` and `bench_components` are the table; `rendering` makes recipes of it, `writing` a folder of them, and
`checking` finds what Greengrass' own schema lets pass. `lineside recipe` and the bench call these.
"""
