"""One process of a worker under test: rank 0 runs the functions of bodies.py named on the command line and prints their results as JSON, the others serve."""

import json
import os
import sys
import time

import bodies
from ringside_worker.engine import Engine

name, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
delay = options.pop("delay", 0)
if os.environ["RANK"] == "1":
    time.sleep(delay)
engine = Engine.start(device="cpu", **options)
if engine.rank == 1 and name == "late":
    bodies.slow_to_warm(engine, delay)
if engine.rank == 1 and name == "failing":
    bodies.sabotage(engine)
if engine.rank != 0:
    if not engine.serve():
        os._exit(75)
    engine.close()
else:
    print("RESULT " + json.dumps({body: getattr(bodies, body)(engine) for body in name.split(",")}), flush=True)
    engine.close()
