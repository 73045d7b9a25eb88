#!/usr/bin/env bash
# Makes sure that a libvirt answers, and ends what it started for that, nothing else.
#
#   scripts/libvirtd.sh start    the host's own libvirt if it answers, else one of ours
#   scripts/libvirtd.sh stop     ends ours if this clone started it and no guest runs [--force: even then]
#   scripts/libvirtd.sh status   says what there is; fails when nothing answers
#   scripts/libvirtd.sh uri      prints the connection URI to use, nothing else
#
# REPRIEVE_LIBVIRTD_PRIVATE=DIR makes all of these about a libvirt of one's own that has everything
# below DIR, its socket too, and shares nothing with the host's but the cache of what QEMU can do:
# for those who want to kill it. What was killed is started again by `start`; its guests live on.
#
# Owns: /run/reprieve-libvirtd (root only): configuration, pid files, logs, and who started it.
# The host's /etc/libvirt is neither read nor written by our libvirtd: it gets a private one by
# a mount namespace, because libvirtd reads qemu.conf from there whatever `-f` says. Everything
# else is where virsh and every other client looks for it: /run/libvirt, /var/lib/libvirt.
#
# REPRIEVE_QEMU_USER=libvirt-qemu runs guests as that user. It then must be able to walk to the
# instance directories and to open /dev/kvm; otherwise see `qemu_conf` below.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
root=$(cd "$(dirname "$0")/.." && pwd -P)
private=${REPRIEVE_LIBVIRTD_PRIVATE:-}
state=${private:-${REPRIEVE_LIBVIRTD_STATE:-/run/reprieve-libvirtd}}
system=qemu:///system
as_user=no # a libvirt of a user needs no mount namespace: it looks where XDG_* say
if [ -n "$private" ]; then
  system="qemu+unix:///system?socket=$private/run/libvirt-sock"
  if [ "$(id -u)" != 0 ]; then
    as_user=yes
    system="qemu+unix:///session?socket=$private/run/libvirt/libvirt-sock"
  fi
fi
deadline=90 # the first start of all probes every QEMU there is: 9 s here, more on a busy machine

say() { printf 'libvirtd: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
# 0: answers, 1: nobody there, 124: somebody is there and does not answer
answers() { timeout "${2:-30}" virsh -c "$1" version >/dev/null 2>&1; }

# A pid is ours only while it is the process that we started: pids are used again. And a dead
# one may stay as a zombie for seconds where PID 1 of a container is slow to collect orphans.
started_at() { awk '{sub(/.*\) /, ""); if ($1 != "Z") print $20}' "/proc/$1/stat" 2>/dev/null || true; }
pid_of() { # name -> pid when alive and ours
  local pid at
  [ -r "$state/$1.started" ] && read -r pid at <"$state/$1.started" || return 1
  [ -n "$at" ] && [ "$(started_at "$pid")" = "$at" ] && printf '%s\n' "$pid"
}
end() { # name
  local pid i
  pid=$(pid_of "$1") || { rm -f "$state/$1.started"; return 0; }
  kill "$pid" 2>/dev/null || true
  for ((i = 0; i < 200; i++)); do
    pid_of "$1" >/dev/null || break
    sleep 0.05
    # It only waits for jobs of guests by now; they go on in QEMU.
    [ $i -ne 150 ] || kill -KILL "$pid" 2>/dev/null || true
  done
  rm -f "$state/$1.started" "$state/$1.pid"
}

qemu_conf() {
  local user=${REPRIEVE_QEMU_USER:-root}
  # As root by default: instance directories below a private home or a fresh temporary directory
  # are closed to libvirt-qemu ("Cannot access storage file"). And where that user may not open
  # /dev/kvm, libvirt finds its cached capabilities of QEMU wrong and probes again each time:
  # 12 s to start and 49 s for one guest, against 0.1 s and 0.6 s as root.
  printf 'user = "%s"\ngroup = "%s"\n' "$user" "$(id -gn "$user")"
  # No AppArmor profile or SELinux label comes with a libvirtd that no package started.
  printf 'security_default_confined = 0\n'
  # In a container cgroups are often read-only, and the start of every guest would fail.
  local c=/sys/fs/cgroup
  [ ! -d $c/memory ] || c=$c/memory
  [ -w $c ] || printf 'cgroup_controllers = []\n'
}

# QEMU, like every daemon, becomes a child of PID 1. Where that is not an init but some container's
# supervisor that collects dead children every few seconds, libvirt waits as long for a QEMU that
# is already dead: 1.3-2.9 s for a destroy. So a process of ours adopts and collects them. It
# ends with the last of its children, not with libvirtd, because guests outlive that.
# shellcheck disable=SC2016
reaper='
import ctypes, os, sys
read_end, write_end = os.pipe()
if os.fork():
    os.close(write_end)
    sys.exit(int(os.read(read_end, 8) or b"1"))
os.setsid()
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
first = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
while True:
    try:
        pid, status = os.wait()
    except ChildProcessError:
        break
    if pid == first:
        os.write(write_end, b"%d" % os.waitstatus_to_exitcode(status))
        os.close(write_end)
'

# What ours sees in place of the host's, as "ours theirs" lines.
places() {
  printf '%s /etc/libvirt\n' "$state/etc"
  [ -z "$private" ] || printf '%s\n' "$state/run /run/libvirt" "$state/lib /var/lib/libvirt" "$state/log /var/log/libvirt"
}

launch() { # name, arguments: in a mount namespace where the places are ours
  local name=$1 pid i
  shift
  pid_of "$name" >/dev/null && return 0
  begun+=("$name")
  rm -f "$state/$name.pid"
  # shellcheck disable=SC2016 # expanded inside
  local inside=(unshare --mount --propagation slave -- sh -c '
    printf "%s\n" "$1" | while read -r ours theirs; do mount --bind "$ours" "$theirs" || exit 1; done &&
      shift && exec "$@"' sh "$(places)")
  [ $as_user = no ] || inside=(env "XDG_RUNTIME_DIR=$state/run" "XDG_CONFIG_HOME=$state/config" "XDG_CACHE_HOME=$state/cache")
  python3 -c "$reaper" "${inside[@]}" "$name" --daemon --pid-file "$state/$name.pid" "$@" \
    </dev/null >"$state/$name.out" 2>&1 9>&- || { cat "$state/$name.out" >&2; return 1; }
  for ((i = 0; i < 100; i++)); do
    [ ! -s "$state/$name.pid" ] || break
    sleep 0.02
  done
  pid=$(<"$state/$name.pid")
  printf '%s %s\n' "$pid" "$(started_at "$pid")" >"$state/$name.started"
}

start_ours() {
  command -v libvirtd >/dev/null || die "libvirtd is not installed: scripts/setup.sh hypervisor"
  mkdir -p "$state/etc/qemu"
  if [ $as_user = yes ]; then
    mkdir -p "$state"/{run,config,cache}
  else
    places | while read -r ours theirs; do mkdir -p "$ours" "$theirs"; done
    # QEMU may run as another user and looks for its own directories below.
    [ -z "$private" ] || chmod 0711 "$state"/{run,lib,log}
  fi
  # Definitions of guests are in $state/etc/qemu and stay; the settings are written anew.
  qemu_conf >"$state/etc/qemu.conf"
  cat >"$state/etc/libvirtd.conf" <<-CONF
	# Root alone may connect, so there is nothing to ask polkit (which needs a D-Bus) about.
	unix_sock_rw_perms = "0700"
	unix_sock_ro_perms = "0700"
	auth_unix_rw = "none"
	auth_unix_ro = "none"
	log_outputs = "3:file:$state/libvirtd.log"
	CONF
  printf 'log_outputs = "3:file:%s"\n' "$state/virtlogd.log" >"$state/etc/virtlogd.conf"
  begun=()
  # shellcheck disable=SC2317 # called by the trap: nothing stays half started
  undo() {
    local n
    for n in "${begun[@]}"; do end "$n"; done
    pid_of virtlogd >/dev/null || rm -f "$state/owner"
  }
  trap undo EXIT
  [ $as_user = yes ] || unshare --mount true 2>/dev/null || die "may not make a mount namespace here; start libvirtd by your system's means"
  printf '%s\n' "$root" >"$state/owner"
  if [ $as_user = yes ]; then
    mkdir -p "$state/config/libvirt"
    cp "$state"/etc/{libvirtd,virtlogd}.conf "$state/config/libvirt/"
  fi
  launch virtlogd
  launch libvirtd
  answers "$system" $deadline || {
    tail -n 20 "$state/libvirtd.out" "$state/libvirtd.log" >&2 || true
    die "libvirtd did not answer within $deadline s"
  }
  trap - EXIT
  say "started (guests run as ${REPRIEVE_QEMU_USER:-$(id -un)}, logs in $state)"
}

start() {
  command -v virsh >/dev/null || die "virsh is not installed: scripts/setup.sh hypervisor"
  local rc=0
  answers "$system" || rc=$?
  [ $rc -ne 0 ] || return 0
  [ $rc -ne 124 ] || die "a libvirtd is there but does not answer"
  if [ "$(id -u)" != 0 ] && [ -z "$private" ]; then
    # A user's own libvirtd starts itself, and ends itself when it is not needed.
    answers qemu:///session || die "neither qemu:///system nor qemu:///session answers"
    return 0
  fi
  mkdir -p "$state"
  chmod 0700 "$state"
  exec 9>"$state/lock"
  flock -w $deadline 9 || die "another start or stop takes too long"
  ! answers "$system" || return 0
  if [ -z "$private" ] && [ -d /run/systemd/system ] && systemctl cat libvirtd.service >/dev/null 2>&1; then
    systemctl start libvirtd.service
    printf '%s\n' "$root" >"$state/owner"
    touch "$state/by-systemd"
    answers qemu:///system $deadline || die "systemd started libvirtd, which does not answer: journalctl -u libvirtd"
  else
    start_ours
  fi
}

stop() {
  [ "$(id -u)" = 0 ] || [ -n "$private" ] || return 0
  [ -d "$state" ] || return 0
  exec 9>"$state/lock"
  flock -w $deadline 9 || die "another start or stop takes too long"
  [ -r "$state/owner" ] && [ "$(<"$state/owner")" = "$root" ] || return 0
  local guests
  if [ "${1:-}" != --force ]; then
    # Guests would go on without libvirtd, but lose the log of their console with virtlogd.
    guests=$(timeout 30 virsh -c "$system" list --name 2>/dev/null | sed '/^$/d' | tr '\n' ' ') || true
    [ -z "$guests" ] || die "left running, because guests do: $guests"
  fi
  if [ -e "$state/by-systemd" ]; then
    systemctl stop libvirtd.service
  else
    end libvirtd
    end virtlogd
  fi
  rm -f "$state/by-systemd" "$state/owner"
  say "stopped"
}

uri() {
  if answers "$system"; then echo "$system"
  elif [ -z "$private" ] && [ "$(id -u)" != 0 ] && answers qemu:///session; then echo qemu:///session
  else return 1; fi
}

status() {
  local u
  u=$(uri) || { echo "no libvirt answers"; return 1; }
  if pid_of libvirtd >/dev/null; then
    echo "$u answers: libvirtd $(pid_of libvirtd), virtlogd $(pid_of virtlogd || echo gone), started by $(<"$state/owner")"
  else
    echo "$u answers, and was not started from here"
  fi
}

case ${1:-} in
  start | uri | status) "$1" ;;
  stop) stop "${2:-}" ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
