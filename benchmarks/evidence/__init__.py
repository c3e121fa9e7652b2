"""What the papers claim, held against the tiny base's students: each claim is a row of arms and a rule."""
