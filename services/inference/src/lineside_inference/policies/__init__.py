"""The policy in force: what it means for a request, where it is kept, and how it changes."""
