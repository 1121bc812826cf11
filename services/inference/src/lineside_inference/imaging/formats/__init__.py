"""The image formats, one a module: what the header says, whether all of it is there, and its pixels.

Each has `read_header`, `check` and `pixels`; `lineside_inference.imaging.image_headers` and `images` choose among them.
"""
