"""The parts that the line judges: their labels, the rendered surfaces and defects, and the spindle's windows."""
