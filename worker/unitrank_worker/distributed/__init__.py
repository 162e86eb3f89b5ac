"""Divides the passes of one job between nodes: replicas compute ranges of rows, the owner joins.

    owner's child ── pass ──▶ worker's parent ──▶ driver ── ranges ──▶ node ──▶ replica's child
                  ◀─ joined ─                 ◀──        ◀─ results ──      ◀──

The owner's child and each replica's child run the same job. The owner computes no range: it asks
questions, which are a pass or the parts of earlier jobs, and the answers form the job's log. A
replica gets its answers from this log. So a replica that starts late, or again after a crash,
comes to the same point of the job, and gives the same numbers.

- `runners`: what a child does at a pass.
- `questions`: the questions of a job, and their answers.
- `replica`: leads a replica's child to a range.
- `node`: the replicas of one node; the actors of Ray are nodes.
- `nodes`: the nodes, as a division sees them.
- `on_ray`: nodes that are actors of Ray.
- `division`: hands the ranges of a job to nodes, and joins the results.
- `driver`: the process that is Ray's driver.
- `cluster`: the worker's side of the driver's process.
"""
