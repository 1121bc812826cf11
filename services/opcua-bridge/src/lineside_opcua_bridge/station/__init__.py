"""A trigger's station: from the trigger to the request, and from the answer to done in the PLC."""
