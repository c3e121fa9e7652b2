"""The LiT reward's heads: how they were trained, what they are worth, and a student that learnt from them."""
