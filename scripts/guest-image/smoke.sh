#!/usr/bin/env bash
# Boots the guest images under TCG and checks everything that tests rely on: what the guest says and in which order,
# the config drive in both formats, power button, reboot, that written data survives, and a rescue.
#
#   scripts/guest-image/smoke.sh
#
# Owns: a temporary directory and the QEMUs it starts; the images themselves are only read.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
images=$(cd "$(dirname "$0")/../.." && pwd -P)/target/images
for tool in qemu-system-x86_64 qemu-img genisoimage mkfs.vfat mcopy; do
  command -v $tool >/dev/null || { echo "smoke: $tool is missing: scripts/setup.sh all" >&2; exit 1; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/guest-smoke.XXXXXX")
guest='' reader=''
# shellcheck disable=SC2086 # two pids or none
trap '[ -z "$guest$reader" ] || kill -KILL $guest $reader 2>/dev/null || true; rm -rf "$work"' EXIT

passed=0
ok() { passed=$((passed + 1)); printf '  ok    %s\n' "$*"; }
fail() { printf '  FAIL  %s\n--- console\n' "$*" >&2; cat -v "$work/console" >&2; exit 1; }
now() { local t=${EPOCHREALTIME/[.,]/}; printf '%s' $((t / 1000)); }

boot() { # title, QEMU arguments
  printf '%s\n' "$1"
  shift
  rm -f "$work"/{serial,monitor}.{in,out}
  mkfifo "$work"/{serial,monitor}.{in,out}
  : >"$work/console"
  # Opened for both directions, so that nobody waits for the other side.
  exec 3<>"$work/serial.in" 4<>"$work/monitor.in" 5<>"$work/serial.out" 6<>"$work/monitor.out"
  cat <&5 >"$work/console" &
  reader=$!
  begin=$(now)
  qemu-system-x86_64 -machine pc,accel=tcg -nodefaults -display none -no-reboot -smp 1 \
    -chardev pipe,id=s,path="$work/serial" -serial chardev:s \
    -chardev pipe,id=m,path="$work/monitor" -mon chardev=m \
    -object rng-random,filename=/dev/urandom,id=r -device virtio-rng-pci,rng=r -device virtio-balloon-pci "$@" &
  guest=$!
}
await() { # regular expression, seconds
  local end=$(($(now) + ${2:-60} * 1000))
  until tr -d '\r' <"$work/console" | grep -aqE "$1"; do
    kill -0 "$guest" 2>/dev/null || fail "the guest ended before it said: $1"
    [ "$(now)" -lt $end ] || fail "not seen within ${2:-60} s: $1"
    sleep 0.1
  done
}
said() { tr -d '\r' <"$work/console" | grep -aqE "$1" || fail "expected: $1"; ok "$1"; }
run() { # command: waits until it is done. The quotes keep the echo of what was typed from being taken for the answer.
  count=$((${count:-0} + 1))
  printf '%s; echo DO""NE-%s=$?\n' "$1" $count >&3
  await "DONE-$count=" 20
  tr -d '\r' <"$work/console" | grep -aq "DONE-$count=0" || fail "failed in the guest: $1"
  ok "$1"
}
gone() { # what was done
  local begin=$(($(now))) end
  end=$((begin + 15000))
  while kill -0 "$guest" 2>/dev/null; do
    [ "$(now)" -lt $end ] || fail "still running 15 s after $1"
    sleep 0.02
  done
  wait "$guest" || fail "QEMU failed"
  guest=
  kill "$reader" 2>/dev/null || true
  wait "$reader" 2>/dev/null || true
  ok "ended $(($(now) - begin)) ms after $1"
}
powerdown() { printf 'system_powerdown\n' >&4; gone "the power button was pressed"; }
booted() {
  await '^HEARTBEAT 1 up='
  printf '  first heartbeat after %s ms\n' $(($(now) - begin))
}
disk() { printf -- '-drive file=%s,if=virtio,format=qcow2,cache=unsafe' "$1"; }

mkdir -p "$work/cd/openstack/latest"
printf '%s' '{"uuid":"11111111-2222-3333-4444-555555555555","admin_pass":"s\u00e9cr\"et\\:x","hostname":"box-\u0031",' \
  '"meta":{"hostname":"not-this"},"keys":[{"name":"a","type":"ssh","data":"ssh-ed25519 AAAA no"}],"random_seed":"x\/y==",' \
  '"public_keys":{"a":"ssh-ed25519 AAAA one","b":"ssh-rsa BBBB two\n"},"launch_index":0,"x":null}' >"$work/cd/openstack/latest/meta_data.json"
printf '#!/bin/sh\necho it ran >/var/lib/cloud/ran\n' >"$work/cd/openstack/latest/user_data"
genisoimage -quiet -J -r -V config-2 -o "$work/config.iso" "$work/cd"
truncate -s 4M "$work/config.vfat"
mkfs.vfat -n config-2 "$work/config.vfat" >/dev/null 2>&1
mcopy -s -i "$work/config.vfat" "$work/cd/openstack" ::
qemu-img create -q -f qcow2 -b "$images/tiny.qcow2" -F qcow2 "$work/disk.qcow2"

# shellcheck disable=SC2046 # several words
boot "tiny, 256 MB, config drive on a CD-ROM" -m 256 $(disk "$work/disk.qcow2") \
  -drive "file=$work/config.iso,if=ide,media=cdrom,readonly=on"
booted
said '^.*REPRIEVE-GUEST variant=tiny root=/dev/vda1 uuid=72657072-6965-4765-8001-74696e790001 label=tiny boot_id=[0-9a-f-]{36}$'
said '^Disk /dev/vda: 64 MB'
said '^CONFIG-DRIVE hostname=box-1 keys=2 admin_pass=yes user_data=42$'
order=$(tr -d '\r' <"$work/console" | grep -aoE 'REPRIEVE-GUEST|FDISK-BEGIN|FDISK-END|CONFIG-DRIVE|HEARTBEAT 1 ' | tr -d ' 1\n')
[ "$order" = REPRIEVE-GUESTFDISK-BEGINFDISK-ENDCONFIG-DRIVEHEARTBEAT ] || fail "order of the lines: $order"
ok "the lines come in order"
await 'tiny# '
run "hostname | grep -qx box-1"
run "grep -q '^root:[\$]6[\$]' /etc/shadow"
# the password as the guest understood it, hashed with the same salt
run "s=\$(sed -n 's/^root:[\$]6[\$]\\([^\$]*\\).*/\\1/p' /etc/shadow); [ \"root:\$(printf 's\\303\\251cr\"et\\\\:x' | mkpasswd -m sha512 -P 0 -S \$s)\" = \"\$(cut -d: -f1,2 /etc/shadow)\" ]"
run "grep -qx 'ssh-ed25519 AAAA one' /root/.ssh/authorized_keys"
run "grep -qx 'it ran' /var/lib/cloud/ran"
run "heartbeat off"
sleep 1.2
beats() { tr -d '\r' <"$work/console" | sed -n 's/^HEARTBEAT \([0-9]*\) .*/\1/p'; }
before=$(beats | tail -n 1)
sleep 2.2
[ "$(beats | tail -n 1)" = "$before" ] || fail "heartbeats although they are off"
run "heartbeat on"
sleep 1.5
after=$(beats | awk -v n="$before" '$1 > n { print; exit }')
[ "${after:-0}" -ge $((before + 3)) ] || fail "after $before comes ${after:-nothing}"
ok "the count went on while it was hidden"
if grep -a HEARTBEAT "$work/console" | tr -d '\r' | grep -avqE '^HEARTBEAT [0-9]+ up=[0-9.]+$'; then
  fail "a heartbeat shares its line"
fi
ok "each heartbeat has its own line"
run "echo kept >/root/file && sync"
powerdown

qemu-img resize -q "$work/disk.qcow2" 1G
# shellcheck disable=SC2046
boot "the same disk made larger, 128 MB, config drive as vfat on a disk" -m 128 $(disk "$work/disk.qcow2") \
  -drive "file=$work/config.vfat,if=virtio,format=raw,readonly=on"
booted
said '^Disk /dev/vda: 1024 MB'
said '^CONFIG-DRIVE hostname=box-1 keys=2 admin_pass=yes user_data=42$'
run "grep -qx kept /root/file"
printf 'reboot\n' >&3
gone reboot

# shellcheck disable=SC2046
boot "tiny-rescue, with tiny as second disk" -m 256 \
  -drive "file=$images/tiny-rescue.qcow2,if=virtio,format=qcow2,snapshot=on" $(disk "$work/disk.qcow2")
booted
said '^.*REPRIEVE-GUEST variant=tiny-rescue root=/dev/vda1 uuid=72657072-6965-4765-8002-726573637565 label=tiny-rescue '
said '^/dev/vdb1 '
said '^CONFIG-DRIVE none$'
run "mount /dev/vdb1 /mnt && grep -qx kept /mnt/root/file && echo repaired >/mnt/root/file && umount /mnt"
powerdown

# The same image for rescue and root: both have the UUID that is looked for.
# shellcheck disable=SC2046
boot "tiny, with another tiny as second disk" -m 256 $(disk "$work/disk.qcow2") \
  -drive "file=$images/tiny.qcow2,if=virtio,format=qcow2,snapshot=on"
booted
said '^.*REPRIEVE-GUEST variant=tiny root=/dev/vda1 '
run "grep -qx repaired /root/file"
printf 'poweroff\n' >&3
gone poweroff

printf '%s passed, 0 failed\n' "$passed"
