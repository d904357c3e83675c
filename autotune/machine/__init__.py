"""What this machine can do, measured: `weft machine --measure`."""
