"""The commands: what a person types after `seedance-mcp`, one file for each group.

They read arguments, call the rooms below, and show results; `cli` gathers them.
"""
