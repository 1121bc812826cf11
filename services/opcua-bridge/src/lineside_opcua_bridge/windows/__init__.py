"""Windows: samples of several tags at a fixed rate, resampled from values that are notified when they change.

`TagSeries` keeps the values of one tag, `resample` interpolates them at the sampling instants, and `Window` combines
the columns and knows which windows are complete. All of it is pure: time is in the values.
"""

from lineside_opcua_bridge.windows.resample import Unusable
from lineside_opcua_bridge.windows.window import MAX_DUE, Window

__all__ = ["MAX_DUE", "Unusable", "Window"]
