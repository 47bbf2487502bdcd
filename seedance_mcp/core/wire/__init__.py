"""Wire formats: bytes and headers to values, and back. No I/O and no clock; every parser is fuzzed.

A parser in here lets out only `StudioProtocolError` (the studio wrote what the contract does not allow) or
`StudioRejectedError` (the studio said no in words), whatever the bytes are.
"""
