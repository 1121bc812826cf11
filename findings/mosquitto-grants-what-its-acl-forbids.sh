#!/usr/bin/env bash
# mosquitto grants a subscription (SUBACK) to a topic that the account may not read by `acl_file`, over MQTT 5 and 3.1.1,
# and then delivers nothing: the client cannot know. Its dynamic security plugin refuses the subscription, code 0x87.
#
# Version: mosquitto 2.0.11 (Debian; must be on PATH), client paho-mqtt 2.1.0.
# Seen: SUBACK "Granted QoS 1" for `allowed` and `forbidden`; of one message on each only that on `allowed` comes.
# Run by hand; it fails when the behaviour changes.
set -euo pipefail
PATH=$PATH:/usr/sbin
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q paho-mqtt==2.1.0
printf 'box:word\n' > "$work/passwd" && mosquitto_passwd -U "$work/passwd"
printf 'user box\ntopic readwrite allowed\ntopic write forbidden\n' > "$work/acl"
cat > "$work/run.py" <<'PYTHON'
import getpass, shutil, socket, subprocess, sys, time
import paho.mqtt.client as paho

with socket.create_server(("127.0.0.1", 0)) as probe:
    port = probe.getsockname()[1]
open("conf", "w").write(
    f"user {getpass.getuser()}\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file passwd\nacl_file acl\n"
)
version = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True).stdout.splitlines()[0]
broker = subprocess.Popen([shutil.which("mosquitto"), "-c", "conf"], stderr=subprocess.DEVNULL)
wrong = False
for protocol in (paho.MQTTv5, paho.MQTTv311):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="box", protocol=protocol)
    client.username_pw_set("box", "word")
    granted, came = [], []
    client.on_subscribe = lambda *given: granted.extend(given[3])
    client.on_message = lambda *given: came.append(given[2].topic)
    for _ in range(100):
        try:
            client.connect("127.0.0.1", port)
            break
        except OSError:
            time.sleep(0.1)
    client.loop_start()
    client.subscribe([("allowed", 1), ("forbidden", 1)])
    while not granted:
        time.sleep(0.05)
    for topic in ("forbidden", "allowed"):
        client.publish(topic, b"x", qos=1).wait_for_publish(10)
    while "allowed" not in came:
        time.sleep(0.05)
    client.disconnect(); client.loop_stop()
    print(f"{version}, MQTT {protocol}: SUBACK {[str(each) for each in granted]}, came: {came}")
    wrong = wrong or any(each.is_failure for each in granted) or came != ["allowed"]
broker.terminate()
sys.exit("the behaviour changed" if wrong else 0)
PYTHON
cd "$work" && timeout 120 venv/bin/python run.py
