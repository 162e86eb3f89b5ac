"""The reasons why a module cannot be exported.

`recognition` refuses other objects than networks. `diagnosis` runs the module to find why torch
cannot capture it. `always_random` is about modules that draw random numbers in evaluation mode.
"""
