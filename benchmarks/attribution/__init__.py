"""The speed of attribution, compared with Captum."""
