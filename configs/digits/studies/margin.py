# Label of a digit by the direction of its embedding: accuracy. Not on hard
# digits, of which embeddings of 16 numbers tell fewer than half apart.
_base_ = '../normface.py'
