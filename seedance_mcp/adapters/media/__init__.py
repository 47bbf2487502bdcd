"""Media: pictures and videos on this machine. A separate process, which can be killed, decodes pictures.

`files` reads the owner's disk, `images` recognises pictures, `thumbnails` stores small copies, `decoder` runs `worker`.
This module stays empty: `worker` loads it in a separate process, which must start fast.
"""
