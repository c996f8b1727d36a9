import os

# The tests' networks are too small to share out, and threads that spin disturb their neighbours.
# Read when torch is imported, also by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
