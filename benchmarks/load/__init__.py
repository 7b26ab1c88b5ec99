"""Clients, and the load that they put on a server."""
