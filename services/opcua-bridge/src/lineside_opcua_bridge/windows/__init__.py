"""Windows: N tags x M samples at a fixed rate, made of values that come when they change.

`Line` keeps what came, `resample` turns it into values on a grid, and `Window` puts the columns side by side and knows
which windows are complete. All of it is pure: time is in the values.
"""

from lineside_opcua_bridge.windows.resample import Unusable
from lineside_opcua_bridge.windows.window import MAX_DUE, Window

__all__ = ["MAX_DUE", "Unusable", "Window"]
