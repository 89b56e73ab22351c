"""The worker: a process of its own in which a model runs, private to one client or shared by several.

A crash of native code, an out-of-memory kill or an interrupt then never takes the notebook's variables
along. `sharing.open_engine` starts or joins one; what comes back is an ordinary engine.
"""
