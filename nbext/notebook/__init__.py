"""The faces: magics, panel, completion, and how frames are shown."""
