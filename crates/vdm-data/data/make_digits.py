"""Makes digits.npz from scikit-learn's copy of the UCI digits: python make_digits.py"""

import numpy
from sklearn.datasets import load_digits

digits = load_digits()
numpy.savez_compressed(
    "digits.npz",
    x=digits.images.astype(numpy.uint8),
    y=digits.target.astype(numpy.uint8),
)
