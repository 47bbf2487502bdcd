"""Adapters: one package for each outside system. They do not import each other, except for `http`."""
