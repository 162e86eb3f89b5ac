"""Values of the request → their texts in the form."""

STATISTICS = {"mean": "mean", "mean_abs": "mean of absolute values", "rms": "root mean square"}
FILLS = {"baseline": "its value at the baseline", "zero": "zero", "mean": "its mean", "resample": "its value in another example"}
SPACINGS = {
    "": "chosen for the baseline; adaptive where that is not exact enough",
    "uniform": "uniform",
    "cubic": "cubic, dense near the baseline",
    "adaptive": "adaptive, for each example where the target changes",
}
REDUCTIONS = {"": "not reduced", "mean": "their mean", "max": "their maximum", "at": "the values at one position"}
OUTPUT_KINDS = {"logits": "logits", "probabilities": "probabilities: the model ends in softmax or sigmoid"}
OWN_BASELINES = {
    "": "as chosen above",
    "zeros": "zeros",
    "mean": "the mean of all examples",
    "cluster_mean": "the mean of the cluster",
}
"""Kind of the baseline of a single input → its text in the form."""
