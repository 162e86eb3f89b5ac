"""Schemas of an archive's description of its program and tensors, with the checks of each value.

The description is the JSON that torch.export writes. A graph lists its nodes in order of execution.
For example, this node calls `relu` on the value `x` and names the result `relu`:

    {
        "target": "torch.ops.aten.relu.default",
        "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}],
        "outputs": [{"as_tensor": {"name": "relu"}}],
        "metadata": {"nn_module_stack": "L__self__act,act,torch.nn.modules.activation.ReLU"}
    }

The graph also gives the type and shape of each value by its name. A size is a number, or a symbolic
expression such as `Symbol('s77', positive=True, integer=True)` for the batch.

`program` holds the schema of the whole description, and `payloads` that of the weights. The other
modules hold their parts.
"""
