"""
One process of a worker under test.

Rank 0 runs the functions of bodies.py or faulty_bodies.py that the command line names, and prints their results as
JSON. The others serve.
"""

import json
import os
import sys
import time

import bodies
import faulty_bodies
from ringside_worker.engine import Engine
from ringside_worker.pipe import LOST

name, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
delay = options.pop("delay", 0)
if os.environ["RANK"] == "1":
    time.sleep(delay)
engine = Engine.start(device="cpu", **options)
if engine.rank == 1 and name == "late":
    faulty_bodies.slow_to_warm(engine, delay)
if engine.rank == 1 and name == "failing":
    faulty_bodies.sabotage(engine)
if engine.rank != 0:
    if not engine.serve():
        os._exit(LOST)
    engine.close()
else:
    known = {**vars(bodies), **vars(faulty_bodies)}
    print("RESULT " + json.dumps({body: known[body](engine) for body in name.split(",")}), flush=True)
    engine.close()
