"""The command line, one module for each group of commands.

They read arguments, call the packages below, and show results; `cli.main` collects them.
"""
