"""Sanity: do rankings depend on the model's weights (Adebayo et al. 2018, arXiv:1810.03292)?"""
