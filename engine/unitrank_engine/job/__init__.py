"""Prepares everything that one job needs before its passes through the model.

- `context`: the request, the model and the data of a job, handed to each stage.
- `examples`: rows of the dataset as inputs of the model.
- `clusters/`: which rows are ranked together.
- `targets`: the number F of each example that is explained.
- `units`: the elements of the layer that get an importance.
- `baselines`: the input x′ that an example is compared with.
- `fills`: the values that replace ablated units.
- `random_streams`: random generators that depend on the seed alone.
- `batch_size`: the number of rows in one pass.
- `progress`: the share of the job that is done, and the time left.
"""
