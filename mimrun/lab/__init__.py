"""The lab: real parts on this machine, for the demo and for the tests.

Every part is a value with `start()` and `stop()` that is also a context manager. It keeps all it writes
in its own folder, listens on 127.0.0.0/8 only, and is stopped even when the process that started it is
killed (`mimrun.lab.keeper`). Nothing outside the lab imports it, save the doors that run the demo.
"""
