"""The sandbox's two chains and their JSON-RPC."""
