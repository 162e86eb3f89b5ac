"""The engine computes attribution on torch: archives, programs, methods, ablation and statistics.

It imports neither Redis nor HTTP and starts no processes. `pipeline.run` computes a whole job.

Words that the modules share:

- place: the output or the input of a layer, whose units are ranked; h is its value
- unit: a neuron (one element of h) or a channel
- head, tail: the parts of the model before and after the place
- live values: the values besides h that the tail reads
- cut: a place that every path from the model's inputs to its output passes
- target F: the number that is explained, such as a class's logit
- baseline x′: the input that an example is compared with; h′ is the place's value there
- cluster: a named set of examples; one half of it ranks the units, the other half tests the ranking
- fill: the value that replaces an ablated unit
"""
