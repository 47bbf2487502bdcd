"""JSON-RPC to the nodes of both chains."""
