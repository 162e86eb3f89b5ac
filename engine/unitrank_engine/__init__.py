"""Attribution on torch: archives, programs, methods, ablation, statistics. It knows no Redis, HTTP or process."""
