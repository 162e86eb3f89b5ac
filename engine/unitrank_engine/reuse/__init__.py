"""Parts of earlier jobs: fingerprints, and wrappers that look parts up before clusters, scores and fill tests are computed."""
