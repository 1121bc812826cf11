"""Cameras that speak GigE Vision or USB3 Vision, by libaravis, without a vendor's software.

`camera` is the kind, and `hardware` the one that the line fires: `matching` decides which frame is which part's, by the
instants to which `clock` brings the camera's stamps; `latching` reads its clock. `firing` fires several at once, by the
command of `action`. `device` is one opened camera; `features` decides what is written to it and in which order,
`chunks` reads what it sends along with a frame. `features_file` reads and writes the file of a maker's viewer,
`features_loading` puts one into a camera; `vitals` asks for its temperature; `watching` looks at its stream for a time,
`way` at this machine's end of it, and `advice` says what to do about both; `trial` judges what was tried; `discovery`
finds it, `addressing` and `gvcp` give it an address; `pixels` makes of its formats what is judged; `library` is
libaravis.
"""
