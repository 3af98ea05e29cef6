"""Pictures that explain a trained model: `xedge explain`.

maps         where a model looks and what speaks for a class, as arrays
subjects     the pictures that are explained
findings     a model's answer to one picture, with every map that the model has
curves       precision and recall of each class over a whole set
page         the page, and the same as JSON
"""
