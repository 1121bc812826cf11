"""Where a request's pixels come from: cameras of four kinds, files below a root, addresses on a list.

`snapshot`, `mjpeg`, `stream` and `directory` are the kinds of camera, `camera` knows them by name, `live` is what the
last three share: only the newest frame is kept. `http` is the client of snapshot, mjpeg and url, and `exchange` one
connection of it.
"""
