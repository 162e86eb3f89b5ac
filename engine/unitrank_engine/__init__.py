"""The engine computes attribution on torch: archives, programs, methods, ablation and statistics.

It imports neither Redis nor HTTP and starts no processes. `pipeline.run` computes a whole job.
"""
