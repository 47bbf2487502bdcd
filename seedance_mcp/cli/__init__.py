"""The command line, one module for each group of commands.

They read arguments, call the rooms below, and show results; `cli` gathers them.
"""
