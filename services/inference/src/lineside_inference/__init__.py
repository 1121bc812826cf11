"""Lineside inference: a request in, a verdict out, with NVIDIA Triton behind it; it knows no bus.

A request's way, one module a step: `api` reads it, `repeats` answers what was asked before, `pipeline` runs it:
`sources` fetch, `images` and `prepare` write into a slot of the `engine`'s arena, Triton runs the model, `interpret`
makes the verdict by the model's card and the operator's `policy`.
"""
