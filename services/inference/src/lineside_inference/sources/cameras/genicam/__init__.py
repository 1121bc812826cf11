"""Cameras that speak GigE Vision or USB3 Vision, by libaravis, without a vendor's software.

`camera` is the kind; `device` one opened camera; `features` decides what is written to it and in which order;
`discovery` finds it; `pixels` makes of its formats what is judged; `library` is libaravis.
"""
