"""A server that loads once its greeter has nothing more to answer; with `alone`, without a greeter."""

import sys

from seedance_mcp.server.greeter import start_greeter
from seedance_mcp.server.stdio import serve

greeter = None if sys.argv[1:] == ["alone"] else start_greeter()
if greeter is not None:
    greeter.join()
serve(greeter)
