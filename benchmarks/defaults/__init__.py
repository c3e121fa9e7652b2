"""What a changed default does to a student of the tiny base: before and after, in one run."""
