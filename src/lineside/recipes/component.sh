#!/bin/sh
# What a Lineside component does at each step of its life under AWS IoT Greengrass. The recipes call it:
#
#   component.sh install  COMPONENT [what is needed] IMAGE...          look whether this machine can run it;
#                                                                      --models URI IMAGE: and fetch models from S3
#   component.sh startup  COMPONENT NAME IMAGE [how] -- [docker's]     run the container until it ends
#   component.sh shutdown COMPONENT NAME SECONDS [--forwarder]         let it finish the part, then stop it
#   component.sh recover  COMPONENT NAME [--shared-memory IMAGE | --forwarder]
#                                                                      clear what a crash left behind
#   component.sh model    COMPONENT IMAGE MODEL WHERE                  put a model into the repository: a folder, or a
#                                                                      package with its signature beside it
#   component.sh serves   COMPONENT NAME IMAGE MODEL WHERE URL SECONDS [--tell]
#                                                                      wait until inference says that it serves
#
# POSIX sh, without root, by a user of the group docker. What fails says in one sentence what is wrong and what to do.
# A container has a fixed name and no restart policy of Docker's: its token is good for one start by Greengrass.
set -eu

IPC_FOLDER=/run/greengrass
# With what the names of containers, networks and volumes begin; tests put another word in front.
SCOPE=${LINESIDE_TEST_SCOPE:-lineside}
MODELS=$SCOPE-models
CLIENT_MODELS=$SCOPE-client-models
CLIENT_MODELS_AT=/var/lib/lineside/client-models # as in the images, whose owner of it a new volume gets
DOWNLOAD=$SCOPE-model-download
SHARED_MEMORY=$SCOPE-shared-memory
TRUSTED=/etc/lineside # root's own, on this machine
ROOTS=$TRUSTED/model-roots # the keys and authorities that sign models; where it is not, nobody is asked
UNSIGNED=$TRUSTED/unsigned-models # names of models that need no signature, a line each
LABEL=com.lineside.component
CAMERAS_LABEL=com.lineside.cameras # of the cameras' network: the card and the subnet that it was made for
MOST=107 # bytes of a socket's path: unix(7)
ANSWER_S=20
AWAY_S=${LINESIDE_TEST_AWAY_S:-120} # for so long a model's component waits for inference or Triton to be there at all
FORWARDER_STOP_S=10
ENOUGH_RMEM=8388608 # bytes: two frames of a camera of 4 megapixels
TMPFS='--tmpfs /tmp:rw,noexec,nosuid,nodev,size=64m,mode=1777'
through=none # the network of containers that do one thing
# By what a container finds Greengrass' credentials and a proxy. Names only: no token in `ps`.
OUTWARD='--env AWS_CONTAINER_AUTHORIZATION_TOKEN --env AWS_CONTAINER_CREDENTIALS_FULL_URI
  --env HTTPS_PROXY --env https_proxy --env HTTP_PROXY --env http_proxy --env NO_PROXY --env no_proxy'

# Where the machine's files are; tests put another folder in front.
root=${LINESIDE_TEST_ROOT:-}

say() { printf '%s: %s\n' "$component" "$*"; }
refuse() { say "$*" >&2; exit 1; }
wrong() { printf 'component.sh: %s\n' "$*" >&2; exit 2; }

# ask ARGUMENTS: docker, but an Engine that hangs is not waited for.
ask() { if command -v timeout >/dev/null; then timeout "$ANSWER_S" docker "$@"; else docker "$@"; fi; }

# scoped NAME: the name that a thing of ours has on this engine.
scoped() { case $1 in lineside-*) printf %s "$SCOPE-${1#lineside-}" ;; *) printf %s "$1" ;; esac; }

# --- install -----------------------------------------------------------------------------------------------------------

install() {
  component=$1; shift
  machine='' room='' l4t='' needs_gpu=no needs_ipc=no source='' fetcher='' has_clients=no
  while [ $# -gt 0 ]; do
    case $1 in
      --machine) machine=$2; shift 2 ;;
      --room) room=$2; shift 2 ;;
      --l4t) l4t=$2; shift 2 ;;
      --gpu) needs_gpu=yes; shift ;;
      --ipc) needs_ipc=yes; shift ;;
      --models) source=$2 fetcher=$3; shift 3 ;;
      --client-models) has_clients=yes; shift ;;
      -*) wrong "install: $1 is none of --machine, --room, --l4t, --gpu, --ipc, --models, --client-models" ;;
      *) break ;;
    esac
  done
  if [ -n "$machine" ]; then look_at_machine; fi
  look_at_docker
  if [ -n "$l4t" ]; then look_at_l4t; fi
  if [ "$needs_gpu" = yes ]; then look_at_gpu; fi
  if [ -n "$room" ]; then look_at_disk; fi
  for image in "$@"; do look_at_image "$image"; done
  if [ "$needs_ipc" = yes ]; then find_socket; fi
  case $source in s3://*) fetch_models "$1" ;; esac # else it is a folder of this machine
  if [ "$has_clients" = yes ]; then open_client_models "$1"; fi
  say "this machine can run it"
}

look_at_machine() {
  here=$(uname -m)
  case $here in x86_64) here=amd64 ;; arm64) here=aarch64 ;; esac
  if [ "$here" != "$machine" ]; then
    refuse "this machine is $here and the component's images are for $machine: take another manifest, or correct" \
      "the nucleus' platformOverride"
  fi
}

look_at_docker() {
  command -v docker >/dev/null || refuse "there is no docker command: install Docker Engine 20.10 or newer"
  if ! said=$(ask version --format '{{.Server.Version}}' 2>&1); then
    case $said in
      *[Pp]'ermission denied'*)
        refuse "user $(id -un) may not use Docker: sudo usermod -aG docker $(id -un), then restart Greengrass" ;;
      '') refuse "the Docker Engine did not answer within $ANSWER_S s: see journalctl -u docker, and restart it" ;;
      *) refuse "the Docker Engine does not answer ($(printf %s "$said" | tr '\n' ' ' | cut -c 1-200)):" \
        "sudo systemctl enable --now docker" ;;
    esac
  fi
}

look_at_l4t() {
  release=$root/etc/nv_tegra_release
  if [ ! -r "$release" ]; then
    refuse "this is no Jetson ($release is not there): Triton's image for aarch64 is a Jetson's and runs on nothing else"
  fi
  here=$(sed -n 's/^# R\([0-9]*\) .*/\1/p' "$release")
  if [ "$here" != "$l4t" ]; then
    refuse "this Jetson has L4T R${here:-?} and Triton's image is for R$l4t: flash the JetPack with R$l4t, or render the" \
      "recipe with the image for yours (docs/reference/images.md)"
  fi
}

look_at_gpu() {
  case $(ask info --format '{{json .Runtimes}}' 2>/dev/null) in
    *'"nvidia"'*) ;;
    *) refuse "Docker has no runtime nvidia, by which the GPU comes into the container: install" \
      "nvidia-container-toolkit, sudo nvidia-ctk runtime configure --runtime=docker, restart Docker" ;;
  esac
}

look_at_disk() {
  folder=$(ask info --format '{{.DockerRootDir}}' 2>/dev/null) || folder=/var/lib/docker
  while [ ! -d "$folder" ] && [ "$folder" != / ]; do folder=$(dirname "$folder"); done
  free=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1048576) }')
  if [ "${free:-0}" -lt "$room" ]; then
    refuse "the disk of Docker's images ($folder) has ${free:-0} GiB free and $room GiB are needed, for the next version" \
      "beside this one too: docker image prune, or a larger disk"
  fi
}

look_at_image() {
  if ! built_for=$(ask image inspect --format '{{.Architecture}}' "$1" 2>/dev/null); then
    refuse "image $1 is not on this machine: it must be an artifact of the recipe, which Greengrass pulls; see its log"
  fi
  if [ "$built_for" = arm64 ]; then built_for=aarch64; fi
  if [ -n "$machine" ] && [ "$built_for" != "$machine" ]; then
    refuse "image $1 is built for $built_for and this machine is $machine: push an image for $machine, and deploy that"
  fi
}

# find_socket: the nucleus' socket as $socket, absolute, and the group by which it may be used as $socket_group.
find_socket() {
  given=${AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT:-}
  if [ -z "$given" ]; then
    refuse "the nucleus gave no socket (AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT is empty): only Greengrass" \
      "can start this component"
  fi
  # The classic nucleus hands out ../../ipc.socket where its root is a long path: Docker takes absolute paths only.
  socket=$(readlink -f -- "$given" 2>/dev/null) || socket=''
  if [ ! -S "$socket" ]; then
    refuse "$given, which the nucleus gave, is no socket: restart Greengrass; or set ipcSocketPath of the nucleus"
  fi
  inside=$IPC_FOLDER/$(basename "$socket")
  if [ "$(printf %s "$inside" | wc -c)" -gt "$MOST" ]; then
    refuse "the socket's name is too long: $inside would be more than $MOST bytes; set a short ipcSocketPath of the nucleus"
  fi
  case $(dirname "$socket") in
    *[:,]*) refuse "$socket has a colon or a comma in its path, which Docker cannot mount: set ipcSocketPath" ;;
    /) refuse "$socket lies in /, and its whole folder is given to the container: set ipcSocketPath to a folder of its own" ;;
  esac
  socket_group=$(stat -c %g "$socket")
  case $(stat -c %a "$socket") in
    *[2367]) socket_group='' ;; # everybody may
    *[2367]?) if [ "$socket_group" = 0 ]; then
        refuse "$socket is for root's group, which no container gets: let Greengrass run components as ggc_user:ggc_group"
      fi ;;
    *) refuse "only $(stat -c %U "$socket") may use $socket: let Greengrass run components as ggc_user:ggc_group" ;;
  esac
}

# --- startup -----------------------------------------------------------------------------------------------------------

startup() {
  component=$1 name=$(scoped "$2") image=$3; shift 3
  files='' folders='' networks='' alias='' grace=15 has_ipc=no has_host=no size='' secrets='' reporter='' gateway='' neighbour='' models=no cpus='' cameras=none
  work='' socket_file='' forwarder='' tmpfs=$TMPFS
  while [ $# -gt 0 ]; do
    case $1 in
      --network | --internal-network) networks="$networks $1=$(scoped "$2")"; shift 2 ;;
      --alias) alias=$2; shift 2 ;;
      --stop) grace=$2; shift 2 ;;
      --ipc) has_ipc=yes; shift ;;
      --host-network) has_host=yes; shift ;;
      --shared-memory) size=$2; shift 2 ;;
      --secrets) secrets=$2; shift 2 ;;
      --reporter) reporter=$2; shift 2 ;;
      --listen) gateway=${2%%=*}=$(scoped "${2#*=}"); shift 2 ;;
      --neighbour) neighbour=${2%%=*}=$(scoped "${2#*=}"); shift 2 ;;
      --needs-model) models=yes; shift ;;
      --cpus) cpus=$2; shift 2 ;;
      --cameras) cameras=${2:-none}; shift 2 ;;
      --if-there) files="$files $2"; shift 2 ;;
      --share-if-there) folders="$folders $2"; shift 2 ;;
      --work) work=${2%/}; shift 2 ;;
      --socket-file) socket_file=$2; shift 2 ;;
      --forwarder) forwarder=$2; shift 2 ;;
      --) shift; break ;;
      *) wrong "startup: $1 is none of its options; Docker's own come behind --" ;;
    esac
  done
  for word in "$@"; do shift; set -- "$@" "$(scoped "$word")"; done # the volumes
  look_at_docker
  # After a crash, and on nucleus lite, which knows neither shutdown nor recover, the last container may still be there.
  remove_container
  if [ -n "$forwarder" ]; then remove_forwarder; fi
  make_networks
  if [ "$cameras" != none ]; then make_cameras_network; fi
  if [ -n "$secrets" ]; then make_secrets; fi
  if [ -n "$size" ]; then make_shared_memory; fi
  if [ "$models" = yes ]; then wait_for_model; fi
  if [ "$has_ipc" = yes ] || [ -n "$reporter" ]; then find_socket; fi
  if [ -n "$work" ]; then make_work; fi
  if [ -n "$forwarder" ]; then make_forwarder; fi

  set -- --env LINESIDE_CONFIG= --env AWS_REGION --env AWS_DEFAULT_REGION --env AWS_IOT_THING_NAME "$@"
  if [ -n "$cpus" ]; then set -- --cpus "$(bounded "$cpus")" "$@"; fi
  # Docker's look at a service's health is a process every ten seconds that nobody reads: the service tells Greengrass.
  if [ -z "$reporter" ]; then set -- --no-healthcheck "$@"; fi
  if [ -n "${AWS_IOT_THING_NAME:-}" ]; then set -- --env "LINESIDE_THING=$AWS_IOT_THING_NAME" "$@"; fi
  if [ "$has_ipc" = yes ]; then
    # The folder and not the socket, which is another one after a restart of the nucleus. Names only: no token in `ps`.
    set -- --volume "$(dirname "$socket"):$IPC_FOLDER:ro" --env SVCUID --env "LINESIDE_COMPONENT=$component" \
      --env "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT=$inside" "$@"
    if [ -n "$socket_group" ]; then set -- --group-add "$socket_group" "$@"; fi
  fi
  if [ "$has_host" = yes ]; then
    # Greengrass' credentials and its Stream Manager answer on this machine's loopback only.
    set -- --network host $OUTWARD --env STREAM_MANAGER_SERVER_PORT "$@"
  fi
  if [ -n "$gateway" ]; then set -- --env "${gateway%%=*}=$(address_in "${gateway#*=}")" "$@"; fi
  if [ -n "$neighbour" ]; then set -- --add-host "${neighbour%%=*}:$(address_in "${neighbour#*=}")" "$@"; fi
  if [ -n "$size" ]; then set -- --volume "$SHARED_MEMORY:/dev/shm:nocopy" "$@"; fi
  if [ -n "$secrets" ]; then set -- --volume "$SCOPE-secret-$secrets:/run/secrets/lineside:ro,nocopy" "$@"; fi
  for file in $files; do # Docker would make a folder of a file that is not there
    if [ -e "$file" ]; then set -- --volume "$file:$file:ro" "$@"; fi
  done
  for folder in $folders; do
    if [ -d "$folder" ]; then set -- --volume "$folder:$folder" "$@"; fi
  done
  if [ -n "$work" ]; then
    # Other components' models, to read; they are this user's, as are its clients' socket and segments of memory.
    set -- --user "$(id -u):$(id -g)" --volume "$(dirname "$work"):$(dirname "$work"):ro" --volume "$work:$work" \
      --env "LINESIDE_SPOOL__FOLDER=$work/spool" --env "LINESIDE_INFERENCE__STATE_DIR=$work/state" \
      --env "LINESIDE_INFERENCE__MODEL_REPOSITORY=$work/models" $moved "$@"
  fi
  if [ -n "$socket_file" ]; then share_folder_of_socket; set -- --volume "$shared:$shared" "$@"; fi
  first=''
  for network in $networks; do
    if [ -z "$first" ]; then first=${network#*=}; set -- --network "$first" "$@"; fi
  done
  if [ -n "$first" ] && [ -n "$alias" ]; then set -- --network-alias "$alias" "$@"; fi

  make_container "$name" "$image" "$@"
  for network in $networks; do
    if [ "${network#*=}" != "$first" ]; then
      docker network connect ${alias:+--alias "$alias"} "${network#*=}" "$name" ||
        refuse "Docker did not connect $name with network ${network#*=}; what it said stands above"
    fi
  done
  if [ "$cameras" != none ]; then
    docker network connect --ip "$at_cameras" "$SCOPE-cameras" "$name" ||
      refuse "Docker gave $name not the address $at_cameras in the cameras' network; what it said stands above"
  fi
  follow
}

# make_container NAME IMAGE ARGUMENTS: with what every container of ours has; it is not started yet.
make_container() {
  its_name=$1 its_image=$2; shift 2
  docker create --name "$its_name" --rm --label "$LABEL=$component" --read-only --cap-drop ALL \
    --security-opt no-new-privileges:true $tmpfs --log-driver json-file --log-opt max-size=10m --log-opt max-file=5 \
    --stop-timeout "$grace" "$@" "$its_image" >/dev/null ||
    refuse "Docker did not make the container $its_name from $its_image; what it said stands above"
}

# open_client_models IMAGE: for copies of models by this user, which Triton reads as another. Triton starts for them too.
open_client_models() {
  once 10001:10001 --volume "$CLIENT_MODELS:$CLIENT_MODELS_AT" --entrypoint sh "$1" -c \
    'chmod 1777 "$1" && : >"$1/.wanted"' sh "$CLIENT_MODELS_AT" ||
    refuse "the volume $CLIENT_MODELS could not be made ready; what Docker said stands above"
}

# make_work: the folders in this component's own. Paths in the configuration that are the defaults of a nucleus in
# its usual place mean this component's folder, wherever that is.
make_work() {
  elsewhere='' moved='' root_of_default=/greengrass/v2/work
  for folder in $folders; do
    case $folder/ in
      "$work"/*) ;;
      "$root_of_default/$component/") moved="$moved --env LINESIDE_EDGE_MANAGER__LOCALDATAROOTPATH=$work" ;;
      "$root_of_default/$component/capture/") moved="$moved --env LINESIDE_EDGE_MANAGER__CAPTUREDATADISKPATH=$work/capture" ;;
      *) elsewhere="$elsewhere $folder" ;;
    esac
  done
  folders=$elsewhere
  case $work in
    "$root_of_default"/*) ;;
    *) moved="$moved --env LINESIDE_EDGE_MANAGER__MODEL_ROOTS=[\"$(dirname "$work")\"]" ;;
  esac
  model=''
  find_roots
  if [ "$has_roots" = yes ]; then # clients' models have to be signed too
    moved="$moved --volume $root$ROOTS:$ROOTS:ro --env LINESIDE_EDGE_MANAGER__SIGNER_ROOTS=$ROOTS"
    if [ -r "$root$UNSIGNED" ]; then
      moved="$moved --env LINESIDE_EDGE_MANAGER__UNSIGNED_MODELS=[$(
        awk 'NF { printf "%s\"%s\"", comma, $1; comma = "," }' "$root$UNSIGNED"
      )]"
    fi
  fi
  mkdir -p "$work/spool" "$work/state" "$work/models" || refuse "$work cannot be written by $(id -un): let Greengrass own it"
}

# share_folder_of_socket: as $shared the folder of the socket that clients of this machine look for.
share_folder_of_socket() {
  shared=$(dirname "$socket_file")
  case $socket_file in
    /*/*) ;;
    *) refuse "UnixSocketName $socket_file must be an absolute path in a folder of this machine" ;;
  esac
  case $shared in
    *[:,]*) refuse "UnixSocketName $socket_file has a colon or a comma in its path, which Docker cannot mount: name another" ;;
    /tmp) tmpfs='' ;;
  esac
  if [ ! -d "$shared" ]; then
    refuse "the folder of UnixSocketName $socket_file is not there: sudo install -d -o $(id -un) -m 2770 $shared"
  fi
}

# make_forwarder: the container that carries captures to their bucket, beside this component's own and with its configuration.
make_forwarder() {
  set -- --user "$(id -u):$(id -g)" --memory 256m --pids-limit 128 --no-healthcheck --volume "$work:$work" \
    --env LINESIDE_CONFIG= --env "LINESIDE_SPOOL__FOLDER=$work/spool" --env LINESIDE_COMPANION=yes \
    --env AWS_REGION --env AWS_DEFAULT_REGION --env AWS_IOT_THING_NAME --env AWS_ENDPOINT_URL_S3 \
    --network host $OUTWARD $moved \
    --volume "$(dirname "$socket"):$IPC_FOLDER:ro" --env SVCUID --env "LINESIDE_COMPONENT=$component" \
    --env "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT=$inside"
  if [ -n "$socket_group" ]; then set -- --group-add "$socket_group" "$@"; fi
  if [ -n "${AWS_IOT_THING_NAME:-}" ]; then set -- --env "LINESIDE_THING=$AWS_IOT_THING_NAME" "$@"; fi
  for folder in $folders; do
    if [ -d "$folder" ]; then set -- --volume "$folder:$folder" "$@"; fi
  done
  make_container "$name-forwarder" "$forwarder" "$@"
}

# follow: run the container in the foreground; when it ends, so does the component, with an exit status that is never 0.
follow() {
  stopping=no
  trap 'stopping=yes; docker stop -t "$grace" "$name" >/dev/null 2>&1 || :' TERM INT HUP
  docker start --attach "$name" &
  attached=$!
  if [ -n "$forwarder" ]; then follow_forwarder & fi
  if [ -n "$reporter" ]; then report_when_healthy; fi
  status=0
  wait "$attached" || status=$?
  while kill -0 "$attached" 2>/dev/null; do # a signal has ended the wait, and not the container
    status=0
    wait "$attached" || status=$?
  done
  if [ -n "$forwarder" ]; then docker stop -t "$FORWARDER_STOP_S" "$name-forwarder" >/dev/null 2>&1 || :; fi
  if [ "$stopping" = yes ]; then exit 0; fi
  if [ "$status" = 0 ]; then # Greengrass would take it for RUNNING
    refuse "the container $name ended by itself with status 0; its last words stand above"
  fi
  say "the container $name ended with status $status; its last words stand above" >&2
  exit "$status"
}

# follow_forwarder: it lives as long as the component's own container, and that no longer than it.
follow_forwarder() {
  trap '' TERM INT HUP
  status=0
  docker start --attach "$name-forwarder" || status=$?
  if [ "$(docker inspect --format '{{.State.Running}}' "$name" 2>/dev/null)" = true ]; then
    say "the container $name-forwarder ended with status $status, and $name is stopped with it" >&2
    docker stop -t "$grace" "$name" >/dev/null 2>&1 || :
  fi
}

# report_when_healthy: Triton cannot speak to Greengrass; a container of ours says RUNNING for it, once it is healthy.
report_when_healthy() {
  until [ "$(docker inspect --format '{{.State.Health.Status}}' "$name" 2>/dev/null)" = healthy ]; do
    kill -0 "$attached" 2>/dev/null || return 0
    [ "$stopping" = no ] || return 0
    sleep 1
  done
  if tell_running "$reporter"; then
    say "healthy, and reported RUNNING"
  else
    say "healthy, and Greengrass could not be told; the container is stopped" >&2
    docker stop -t "$grace" "$name" >/dev/null 2>&1 || :
  fi
}

# tell_running IMAGE: a container of ours says RUNNING for this component.
tell_running() {
  teller=$1
  set -- --volume "$(dirname "$socket"):$IPC_FOLDER:ro" --env SVCUID --env "LINESIDE_COMPONENT=$component" \
    --env "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT=$inside" --env LINESIDE_CONFIG=
  if [ -n "$socket_group" ]; then set -- --group-add "$socket_group" "$@"; fi
  once 10001:10001 "$@" --entrypoint python "$teller" -m lineside.greengrass.state RUNNING
}

# once USER ARGUMENTS: a container that does one thing and goes.
once() {
  user=$1; shift
  docker run --rm --label "$LABEL=$component" --user "$user" --network "$through" --read-only --cap-drop ALL \
    --security-opt no-new-privileges:true --memory 256m --pids-limit 64 "$@"
}

# remove_container: this component's last container, whatever state it is in; somebody else's is left alone.
remove_container() {
  owner=$(docker container inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$name" 2>/dev/null) || return 0
  if [ "$owner" != "$component" ]; then
    refuse "there is a container $name that is not this component's: remove it (docker rm -f $name) or name it otherwise"
  fi
  docker rm --force "$name" >/dev/null 2>&1 || : # it may be going by itself
  tries=0
  while docker container inspect "$name" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -le 30 ] || refuse "Docker does not remove the container $name: see journalctl -u docker, restart Docker"
    sleep 1
    docker rm --force "$name" >/dev/null 2>&1 || :
  done
}

remove_forwarder() {
  own=$name name=$name-forwarder
  remove_container
  name=$own
}

# bounded PROCESSORS: no more than the machine has, for Docker refuses more.
bounded() {
  there=$(ask info --format '{{.NCPU}}' 2>/dev/null) || there=''
  printf '%s %s\n' "$1" "${there:-$1}" | awk '{ print ($1 + 0 > $2 + 0) ? $2 : $1 }'
}

make_networks() {
  for network in $networks; do make_network "${network#*=}" "${network%%=*}"; done
  for place in "$gateway" "$neighbour"; do
    if [ -n "$place" ]; then make_network "${place#*=}" --internal-network; fi
  done
}

# make_network NAME KIND: unless it is there; another component may make it at the same moment.
make_network() {
  docker network inspect "$1" >/dev/null 2>&1 && return 0
  internal=''
  if [ "$2" = --internal-network ]; then internal=--internal; fi
  docker network create ${internal:+"$internal"} "$1" >/dev/null 2>&1 || docker network inspect "$1" >/dev/null ||
    refuse "Docker did not make the network $1; what it said stands above"
}

# make_cameras_network: on the network card of GigE cameras, which send to the address that asked them: as $at_cameras this
# container's, in their subnet. It has no way out by it, nor another right.
make_cameras_network() {
  set -f
  # shellcheck disable=SC2086 # its words
  set -- $cameras
  set +f
  case "$# ${2:-} ${3:-}" in
    '3 '[0-9]*.*.*.*/[0-9]*' '[0-9]*.*.*.[0-9]*) ;;
    *) refuse "container.cameras is '$cameras': expected none, or CARD SUBNET ADDRESS (this container's, which nobody else" \
      "has), for instance 'eth1 192.168.100.0/24 192.168.100.9'" ;;
  esac
  at_cameras=$3 cards=$root/sys/class/net
  if [ ! -e "$cards/$1" ] && [ ! -e "$cards/${1%.*}" ]; then # Docker makes a VLAN such as eth1.20 itself
    refuse "container.cameras names the network card $1, and this machine has $(ls "$cards" | tr '\n' ' '): correct it"
  fi
  most=$(cat "$root/proc/sys/net/core/rmem_max" 2>/dev/null) || most=''
  if [ "${most:-$ENOUGH_RMEM}" -lt "$ENOUGH_RMEM" ]; then
    say "net.core.rmem_max is $most bytes: of a larger frame packets are lost; put 60-lineside-gige.conf into /etc/sysctl.d" >&2
  fi
  if made_for=$(docker network inspect --format "{{index .Labels \"$CAMERAS_LABEL\"}}" "$SCOPE-cameras" 2>/dev/null); then
    if [ "$made_for" = "$1 $2" ]; then return 0; fi
    docker network rm "$SCOPE-cameras" >/dev/null ||
      refuse "the network $SCOPE-cameras is for '$made_for' and still used; what Docker said stands above: remove it"
  fi
  docker network create --driver macvlan --internal --label "$CAMERAS_LABEL=$1 $2" --opt "parent=$1" --subnet "$2" \
    "$SCOPE-cameras" >/dev/null || refuse "Docker did not make the network $SCOPE-cameras; what it said stands above"
}

# address_in NETWORK: this machine's address there, by which a container reaches what listens on the machine.
address_in() {
  found=$(docker network inspect --format '{{range .IPAM.Config}}{{.Gateway}} {{end}}' "$1" 2>/dev/null) || found=''
  found=${found%% *}
  printf %s "${found:-127.0.0.1}"
}

make_shared_memory() {
  docker volume inspect "$SHARED_MEMORY" >/dev/null 2>&1 && return 0
  docker volume create --driver local --opt type=tmpfs --opt device=tmpfs \
    --opt "o=size=$size,mode=1777,noexec,nosuid,nodev" "$SHARED_MEMORY" >/dev/null ||
    refuse "Docker did not make the volume $SHARED_MEMORY; what it said stands above"
}

# make_secrets: the token of inference's API, for inference and for who asks it, each in a volume of its own.
# Root in a container, to give each file to its reader, and with no other right of root's; what is there is kept.
make_secrets() {
  once 0:0 --cap-add CHOWN --volume "$SCOPE-secret-inference:/setup/inference" \
    --volume "$SCOPE-secret-topic-bridge:/setup/topic-bridge" --volume "$SCOPE-secret-exporter:/setup/exporter" \
    --entrypoint sh "$image" -c '
      set -eu
      umask 077
      cd /setup
      exec 9>inference/.lock
      flock 9
      give() { # TEXT-FILE FILE GROUP
        if cmp -s "$1" "$2"; then return 0; fi
        rm -f "$2.new"
        cat "$1" >"$2.new"
        chown "0:$3" "$2.new"
        chmod 0440 "$2.new"
        mv -f "$2.new" "$2"
      }
      if [ ! -s inference/tokens ]; then
        rm -f inference/.made
        od -An -N24 -tx1 /dev/urandom | tr -d " \n" >inference/.made
        echo >>inference/.made
        give inference/.made inference/tokens 10001
        rm -f inference/.made
      fi
      give inference/tokens topic-bridge/inference-token 10001
      give inference/tokens exporter/inference-token 10002
    ' || refuse "the token of the inference service could not be made; what Docker said stands above"
}

# wait_for_model: a Triton without any model would end at once; the component of the first one may still be installing.
wait_for_model() {
  told=no
  until once 10001:10001 --volume "$MODELS:/models:ro" --volume "$CLIENT_MODELS:$CLIENT_MODELS_AT:ro" --entrypoint sh \
    "$image" -c 'for each in /models/*/config.pbtxt "$1/.wanted"; do [ ! -f "$each" ] || exit 0; done; exit 3' sh \
    "$CLIENT_MODELS_AT"; do
    if [ "$told" = no ]; then
      say "the volume $MODELS holds no model yet: deploy a component com.lineside.Model.<Name> with this one, or" \
        "set ModelS3URI of com.lineside.Inference" >&2
      told=yes
    fi
    sleep 2
  done
}

# --- shutdown and recover ----------------------------------------------------------------------------------------------

shutdown() {
  component=$1 name=$(scoped "$2")
  said=$(docker stop -t "$3" "$name" 2>&1) || case $said in
    *'o such container'*) ;;
    *) refuse "Docker did not stop $name ($(printf %s "$said" | tr '\n' ' ' | cut -c 1-200)): see journalctl -u docker," \
      "and restart it; the container ends with it" ;;
  esac
  if [ "${4:-}" = --forwarder ]; then docker stop -t "$FORWARDER_STOP_S" "$name-forwarder" >/dev/null 2>&1 || :; fi
}

# recover: good at any moment, any number of times.
recover() {
  component=$1 name=$(scoped "$2"); shift 2
  look_at_docker
  remove_container
  if [ "${1:-}" = --forwarder ]; then remove_forwarder; fi
  if [ "${1:-}" = --shared-memory ] && docker volume inspect "$SHARED_MEMORY" >/dev/null 2>&1; then
    # Regions of processes that are gone: their owner would hold the lock.
    once 10001:10001 --volume "$SHARED_MEMORY:/dev/shm:nocopy" --entrypoint sh "$2" -c \
      'for each in /dev/shm/lineside-*; do [ ! -f "$each" ] || flock -n "$each" rm -f "$each" || :; done' || :
  fi
  if [ "${1:-}" = --staging ]; then
    once 0:0 --volume "$MODELS:/models" --entrypoint sh "$2" -c 'rm -rf "/models/.staging/$1"' sh "$3" || :
  fi
  say "nothing of the last run is left"
}

# --- models ------------------------------------------------------------------------------------------------------------

model() {
  component=$1 image=$2 model=$3 folder=$4
  look_at_docker
  if [ -f "$folder" ]; then place_package; return; fi
  find_model
  for file in config.pbtxt card.yaml; do
    [ -f "$folder/$file" ] || refuse "$folder has no $file: the archive must hold the model's folder as Triton reads it"
  done
  place_model "$folder" tar -C "$folder" -cf - .
}

# place_package: the signature first, so that the package is verified while it comes.
place_package() {
  archive=$(basename "$folder") signature=''
  find_roots
  if [ -e "$folder.sig" ]; then signature=$archive.sig; fi
  trusted='' how="install - --model $model"
  if [ "$has_roots" = yes ]; then trusted="--volume $root$ROOTS:$ROOTS:ro" how="$how --roots $ROOTS"; fi
  if [ "$may_be_unsigned" = yes ]; then how="$how --allow-unsigned $model"; fi
  # shellcheck disable=SC2086 # none where there is no signature
  put_model "$folder" tar -C "$(dirname "$folder")" -cf - $signature "$archive"
}

# find_roots: whether this machine says who signs models, and whether $model may come without a signature.
find_roots() {
  has_roots=no may_be_unsigned=no
  if [ -d "$root$TRUSTED" ] && [ ! -x "$root$TRUSTED" ]; then
    refuse "user $(id -un) cannot look into $TRUSTED, where it stands who signs models: sudo chmod 755 $TRUSTED"
  fi
  if [ -e "$root$ROOTS" ] || [ -L "$root$ROOTS" ]; then has_roots=yes; fi
  if [ -L "$root$ROOTS" ] || { [ "$has_roots" = yes ] && [ ! -d "$root$ROOTS" ]; }; then
    refuse "$ROOTS must be a folder itself, which root alone may write"
  fi
  if [ -r "$root$UNSIGNED" ] && grep -qxF -- "$model" "$root$UNSIGNED"; then may_be_unsigned=yes; fi
}

# place_model WHERE TAR...: the folder of the model $model, as a tar stream, goes into the volume, whole or not at all.
place_model() {
  find_roots
  if [ "$has_roots" = yes ] && [ "$may_be_unsigned" = no ]; then
    refuse "the model $model comes as a folder without a signature, and $ROOTS says who signs models here: deploy a" \
      "signed package (lineside model component), or let root add $model to $UNSIGNED"
  fi
  trusted='' how="put $model"
  put_model "$@"
}

# put_model WHERE TAR...: what the stream holds goes into the volume by the words in $how.
put_model() {
  where=$1; shift
  rm -f tar-failed
  # As a stream: the container cannot read the nucleus' folders.
  # shellcheck disable=SC2086 # each a word
  put=$( ("$@" || : >tar-failed) | once 0:0 --interactive --volume "$MODELS:/models" $trusted --entrypoint python "$image" \
    -m lineside_inference.deploying $how) || put=''
  if [ -e tar-failed ]; then refuse "the model's files in $where could not all be read; deploy it again"; fi
  [ -n "$put" ] || refuse "the model $model was not put into the volume $MODELS; why stands above, what was there stays"
  say "$put of the model $model is in the volume $MODELS"
}

find_model() { if [ -f "$folder/$model/config.pbtxt" ]; then folder=$folder/$model; fi; }

# serves: RUNNING only once what came is warm and serves; what the inference service refused ends it with the reason.
serves() {
  component=$1 name=$(scoped "$2") image=$3 model=$4 folder=$5 url=$6 within=$7; shift 7
  look_at_docker
  find_model
  remove_container
  wait_for_inference
  through=$SCOPE-inside
  needed=$(once 10001:10001 --name "$name" --volume "$MODELS:/models:ro" \
    --volume "$SCOPE-secret-topic-bridge:/run/secrets/lineside:ro,nocopy" --entrypoint python "$image" \
    -m lineside_inference.deploying confirm "$model" "$url" --within "$((within - waited))" \
    --token-file /run/secrets/lineside/inference-token) ||
    refuse "the model $model does not serve as it was deployed; why stands above, and what served before serves on"
  through=none
  if [ -f "$folder" ]; then
    needed="$needed $(tar -tzf "$folder" | sed -n 's|^\([1-9][0-9]*\)/.*|\1|p' | sort -u | tr '\n' ' ')"
  fi
  for version in "$folder"/[1-9]*; do
    if [ -d "$version" ]; then needed="$needed ${version##*/}"; fi
  done
  # shellcheck disable=SC2086 # a word for each version
  once 0:0 --volume "$MODELS:/models" --entrypoint python "$image" -m lineside_inference.deploying \
    accept "$model" $needed || refuse "what is no longer needed of the model $model could not be removed; see above"
  if [ "${1:-}" = --tell ]; then
    find_socket
    tell_running "$image" || refuse "the model $model serves, and Greengrass could not be told; see above"
  fi
  say "the model $model serves as it was deployed"
}

# wait_for_inference: until its container is there; where Triton's, which it needs, is not there either, not for long.
wait_for_inference() {
  away=0 waited=0
  until docker container inspect "$SCOPE-inference" >/dev/null 2>&1; do
    if docker container inspect "$SCOPE-triton" >/dev/null 2>&1; then away=0; fi
    if [ "$away" -ge "$AWAY_S" ] || [ "$waited" -ge "$within" ]; then
      refuse "no inference service is on this machine to say whether the model $model serves:" \
        "deploy com.lineside.Inference with it, and see its log"
    fi
    sleep 1
    away=$((away + 1)) waited=$((waited + 1))
  done
}

# fetch_models IMAGE: the models of the folder $source in S3, into the repository. What came from there before is asked
# of nobody: a box without a network starts, and a deployment goes back to it.
fetch_models() {
  image=$1 name=$DOWNLOAD
  remove_container # one that goes on after its step was ended
  found=$(download fetch) || refuse "the models of $source are not here; why stands above, and what was there stays"
  for each in $found; do
    model=${each%%=*}
    place_model "$source" once 10001:10001 --volume "$DOWNLOAD:/download:ro" --entrypoint tar "$fetcher" \
      -C "/download/${each#*=}" -cf - .
    # Whoever changes a version has to give it another number from now on.
    once 0:0 --volume "$MODELS:/models" --entrypoint sh "$image" -c \
      'cd "/models/$1" && exec python -m lineside_inference.deploying accept "$1" [1-9]*' sh "$model" ||
      refuse "the versions of the model $model could not be marked as deployed; why stands above"
  done
  download placed || refuse "the models of $source are in place and were not noted down; why stands above"
}

# download VERB: by nobody, who alone has this machine's network; it goes on where the last try ended.
download() {
  docker run --rm --init --no-healthcheck --name "$name" --label "$LABEL=$component" --user 10001:10001 --network host --read-only \
    --cap-drop ALL --security-opt no-new-privileges:true --memory 256m --pids-limit 64 $OUTWARD \
    --env AWS_REGION --env AWS_DEFAULT_REGION --env AWS_ENDPOINT_URL_S3 \
    --volume "$DOWNLOAD:/var/lib/lineside/state" --volume "$MODELS:/models:ro" --entrypoint python "$fetcher" \
    -m lineside_forwarder.model_download "$1" "$source" /var/lib/lineside/state /models
}

case ${1:-} in
  install | startup | shutdown | recover | model | serves) "$@" ;;
  *) wrong "${1:-nothing}: one of install, startup, shutdown, recover, model, serves" ;;
esac
