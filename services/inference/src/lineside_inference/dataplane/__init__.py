"""What every face's requests share: their deadline, their memory, their threads, and who is let in."""
