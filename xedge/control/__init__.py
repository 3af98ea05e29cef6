"""The conveyor's side of a lane: the decision image, the PLC's rule, and the buses that carry it.

`image` and `commands` are what is exchanged, `rule` what a PLC makes of it, `board` what a lane
publishes, `bus` the seam to the wire, `link` the thread that keeps one bus alive. docs/control.md
tells it in the order in which an integrator needs it.
"""
