#!/usr/bin/env bash
# amqtt acknowledges a message (PUBACK) and keeps it, with its subscribers' sessions, in memory only: killed and started
# again it brings nothing of what it had acknowledged, and what is published before a subscriber is back reaches nobody.
#
# Version: amqtt 0.12.1 (PyPI), client paho-mqtt 2.1.0, Python 3.11 or newer.
# Seen: 40 messages of QoS 1 for a subscriber with a persistent session, the broker killed after the 20th; all 40 are
#   acknowledged, and 0 of 40 come to the subscriber when it connects again.
# Run by hand; it fails when the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "amqtt==${AMQTT:-0.12.1}" paho-mqtt==2.1.0
cat > "$work/run.py" <<'PYTHON'
import socket, subprocess, sys, time
import paho.mqtt.client as paho

with socket.create_server(("127.0.0.1", 0)) as probe:
    port = probe.getsockname()[1]
config = f"""
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
plugins:
  door.OpenDoor: {{}}
"""
open("broker.yaml", "w").write(config)
open("door.py", "w").write(
    "from amqtt.plugins.base import BaseAuthPlugin\n"
    "class OpenDoor(BaseAuthPlugin):\n"
    "    async def authenticate(self, *, session):\n"
    "        return True\n"
)

def start():
    return subprocess.Popen([sys.executable, "-m", "amqtt.scripts.broker_script", "-c", "broker.yaml"],
                            stderr=subprocess.DEVNULL, env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin"})

def connected(name):
    for _ in range(200):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        try:
            client.connect("127.0.0.1", port)
            client.loop_start()
            return client
        except OSError:
            time.sleep(0.1)
    sys.exit("the broker does not start")

def said(version_of):
    import importlib.metadata
    return importlib.metadata.version(version_of)

broker = start()
taker = connected("taker")
granted = []
taker.on_subscribe = lambda *given: granted.append(given[3])
taker.subscribe("t", 1)
while not granted:
    time.sleep(0.05)
taker.disconnect(); taker.loop_stop()
giver = connected("giver")
acknowledged = 0
for number in range(40):
    if number == 20:
        broker.kill(); broker.wait()
        giver.loop_stop()
        broker = start()
        giver = connected("giver")
    giver.publish("t", str(number), qos=1).wait_for_publish(30)
    acknowledged += 1
taker = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="taker", clean_session=False)
came, present = [], []
taker.on_message = lambda *given: came.append(given[2].payload)
taker.on_connect = lambda *given: present.append(given[2].session_present)
taker.connect("127.0.0.1", port); taker.loop_start()
while not present:
    time.sleep(0.05)
time.sleep(2)
broker.kill()
print(f"amqtt {said('amqtt')}: {acknowledged} acknowledged, {len(came)} came, session present: {present[0]}")
sys.exit(0 if acknowledged == 40 and not came and not present[0] else "the behaviour changed")
PYTHON
cd "$work" && timeout 120 venv/bin/python run.py
