"""One station: from its trigger to the request, from the answer to done in the PLC."""
