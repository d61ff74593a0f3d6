"""Makes experiments as one of several processes; ``python -m tests.storage.claims <worker> <how many>``, the lake on standard input."""

import json
import sys

from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import AlreadyExists


def main(worker: str, count: int) -> None:
    lake = json.load(sys.stdin)
    client = LifecycleClient(lake["uri"], storage_options=lake["options"])
    made = {}
    for number in range(count):
        name = f"{worker}-{number}"
        made[name] = client.create_experiment(name)
        try:
            made[f"shared-{number}"] = client.create_experiment(f"shared-{number}")
        except AlreadyExists:
            continue
    client.close()
    print(json.dumps(made))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
