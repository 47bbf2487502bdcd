"""Media: pictures and videos on this machine. A picture is decoded in a process that can be killed.

`files` reads the owner's disk, `images` says what bytes are, `thumbnails` keeps small copies, `decoder` runs `worker`.
This module stays empty: `worker` loads it in a process of its own, which must start fast.
"""
