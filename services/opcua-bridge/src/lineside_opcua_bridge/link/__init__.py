"""The way from and to the PLC: session, subscriptions that lose nothing unseen, and their one supervisor."""
