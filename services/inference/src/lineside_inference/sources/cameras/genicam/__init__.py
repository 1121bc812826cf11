"""Cameras that speak GigE Vision or USB3 Vision, by libaravis, without a vendor's software.

`camera` is the kind; `device` one opened camera; `features` decides what is written to it and in which order;
`features_file` reads and writes the file that a maker's viewer exports, `features_loading` puts one into a camera;
`vitals` asks for its temperature; `watching` looks at its stream for a time, `way` at this machine's end of it, and
`advice` says what to do about both; `discovery` finds it; `pixels` makes of its formats what is judged; `library` is
libaravis.
"""
