"""A worker whose compute processes are fake_compute.py's."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from ringside_worker.__main__ import main

if __name__ == "__main__":
    sys.exit(main(command=(sys.executable, str(Path(__file__).with_name("fake_compute.py")))))
