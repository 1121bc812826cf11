#!/bin/sh
# Become Triton on a Jetson: explicit model control, and nothing loaded: the inference service says which version of which
# model. Triton has no GPU metrics there; the exporter reads the board instead.
set -eu

# true where a deployer brings the models: elsewhere an empty folder is a wrong mount.
may_be_empty=${MODELS_MAY_BE_EMPTY:-false}
case "$may_be_empty" in
  true | false) ;;
  *) echo "MODELS_MAY_BE_EMPTY is '$may_be_empty': expected true or false" >&2; exit 2 ;;
esac

for config in /models/*/config.pbtxt; do
  # A component that lets clients load models marks their folder: then Triton starts without any of its own.
  if [ "$may_be_empty" = false ] && [ ! -f "$config" ] && [ ! -f /var/lib/lineside/client-models/.wanted ]; then
    echo "/models has no model (<name>/config.pbtxt); mount the model repository there, read-only" >&2
    exit 2
  fi
done

# What clients of Edge Manager's agent load is put there by the inference service.
if [ -d /var/lib/lineside/client-models ]; then
  set -- "$@" --model-repository=/var/lib/lineside/client-models
fi

# TensorRT engines are built here, where TensorRT and the GPU are, when the inference service asks for one. The builder
# ends with this container, and trtexec with the builder.
plans=/var/lib/lineside/plans
if mkdir -p "$plans/models" 2>/dev/null && [ -w "$plans" ]; then
  set -- "$@" "--model-repository=$plans/models"
  (
    while :; do
      PYTHONPATH=/opt/lineside/python python3 -S -m lineside.plans "$plans" /models || true
      sleep 10
    done
  ) &
fi

exec tritonserver \
  --model-repository=/models \
  --model-control-mode=explicit \
  --exit-on-error=false \
  --exit-timeout-secs=5 \
  --allow-gpu-metrics=false \
  --http-port=8000 --grpc-port=8001 --metrics-port=8002 \
  "$@"
