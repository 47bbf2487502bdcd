"""Wire formats: conversion of bytes and headers to values and back. No I/O and no clock; every parser is fuzzed.

On any input, a parser raises only `StudioProtocolError` (the studio's message violates the contract) or
`StudioRejectedError` (the studio refused the request).
"""
