"""Records, queue, results, blobs and settings: everything that outlives a process."""
