"""Load on servers: their processes, clients, open-loop load."""
