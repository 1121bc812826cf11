"""AWS' APIs as the fleet uses them: `clients` sends and counts calls, the others are what is asked of each API."""
