"""The `install` command: the server's entry in the files of MCP clients."""
