"""What is asked of a process that decodes, and how it answers.

It begins with the pickled numbers of its `Limits`, and READY is the answer. A request is a pickled
tuple: the path's bytes, the numbers of the `ByteRange` or None, those of the `Preprocessing`, and
those of the `Decoding`. An answer begins with a LENGTH: below 0 it is ~ of the `Caveat`, and the
pixels follow; else it is that of the reason why there are none, in UTF-8.
"""

from __future__ import annotations

import struct

READY = b"!"
LENGTH = struct.Struct("<i")
