"""Raw buffers of cameras: pixels in one of GenICam's pixel formats (PFNC), without a header that says so.

`table` has the formats by name and code, `layout` what somebody says of a buffer, `unpack` the values of packed bits,
`convert` the pixels.
"""
