"""What users meet: magics, panel, completion, and how frames are shown."""
