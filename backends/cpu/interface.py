"""What generated code and the process that calls it agree on; imported without the generator."""

ENTRY = "weft_entry"
SLOT_BYTES = 32  # an arena: pointer, size, address of the function that grows it (see runtime.py)
