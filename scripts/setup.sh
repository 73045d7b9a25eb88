#!/usr/bin/env bash
# Installs the Debian packages that Reprieve needs, and nothing that is already there.
#
#   scripts/setup.sh [build|hypervisor|guest|test|all]...     (default: all)
#
# Owns: the list of packages in this file. It changes nothing but the package database:
# no configuration file is edited, no service is enabled, nothing is ever removed
# (apt-get runs with --no-remove). When everything is there it does not even call apt.
set -euo pipefail

# group | package | why
PACKAGES='
build      | gcc                | links the Rust crates and builds the C parts of some
build      | make               | the front to all of this
build      | pkg-config         | finds libvirt for the linker
build      | libvirt-dev        | headers and library of the hypervisor interface
hypervisor | qemu-system-x86    | runs the guests
hypervisor | qemu-utils         | qemu-img, for disk images
hypervisor | libvirt-daemon     | libvirtd and virtlogd
hypervisor | libvirt-daemon-driver-qemu | its QEMU driver
hypervisor | libvirt-daemon-system | the libvirt-qemu user, the libvirt group, configuration
hypervisor | python3            | collects dead QEMUs where PID 1 is no real init
hypervisor | libvirt-clients    | virsh, to look at our guests from outside
guest      | busybox-static     | user land of the tiny guest
guest      | grub-pc-bin        | boot loader of the tiny guest
guest      | grub-common        | grub-mkimage
guest      | e2fsprogs          | makes the root file system without mounting it
guest      | cpio               | packs the initramfs
guest      | zstd               | compresses it
guest      | qemu-utils         | qemu-img, makes the qcow2
test       | python3            | drives guests and plays the API client in tests
test       | python3-venv       | a private place for the Python clients the tests use
test       | genisoimage        | isoinfo, checks our own ISO writer; makes config drives
test       | dosfstools         | makes config drives of the other format, vfat
test       | mtools             | fills them without mounting
test       | fdisk              | looks into disk images from outside
test       | wrk                | puts load on the API in benchmarks
test       | rabbitmq-server    | the message broker; tests start brokers of their own
test       | openssl            | makes a certificate for the broker in tests
test       | postgresql         | the database of many hosts; tests start clusters of their own
test       | mariadb-server     | the other database of many hosts; tests start servers of their own
'

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

groups=()
for arg in "${@:-all}"; do
  case $arg in
    all) groups+=(build hypervisor guest test) ;;
    build | hypervisor | guest | test) groups+=("$arg") ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown group '$arg' (build, hypervisor, guest, test, all)" ;;
  esac
done

# Only `build` needs cargo. It is not a package here: Debian's is older than what we use.
for g in "${groups[@]}"; do
  if [ "$g" = build ] && ! command -v cargo >/dev/null && [ ! -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    die "cargo is missing. Install Rust from https://rustup.rs (as your own user), open a new shell, run this again."
  fi
done

names=() reasons=()
while IFS='|' read -r group name why; do
  group=${group//[[:space:]]/} name=${name//[[:space:]]/} why=${why# }
  [ -n "$name" ] || continue
  [[ " ${groups[*]} " == *" $group "* ]] || continue
  [[ " ${names[*]:-} " == *" $name "* ]] && continue
  names+=("$name") reasons+=("$why")
done <<<"$PACKAGES"

command -v dpkg-query >/dev/null ||
  die "this is not Debian or Ubuntu. Please install what these packages hold, by your system's means: ${names[*]}"

# dpkg-query fails when it does not know a package, which is no error here.
installed() { { dpkg-query -W -f='${binary:Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true; } | sed -n 's/^\([^ :]*\)[^ ]* installed$/\1/p'; }
have=" $(installed "${names[@]}" | tr '\n' ' ') "
missing=()
for i in "${!names[@]}"; do
  [[ $have == *" ${names[i]} "* ]] && continue
  [ ${#missing[@]} -gt 0 ] || say "these packages are missing and get installed now:"
  printf '  %-27s %s\n' "${names[i]}" "${reasons[i]}"
  missing+=("${names[i]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die "please run this as root: apt-get install ${missing[*]}"
  as_root=(sudo)
  say "sudo may ask for your password"
fi
as_root+=(env DEBIAN_FRONTEND=noninteractive)
apt=(apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)

"${as_root[@]}" "${apt[@]}" update >/dev/null || say "could not refresh the package lists; trying with the old ones"

want=("${missing[@]}")
if [[ " ${want[*]} " == *" libvirt-daemon-system "* ]] && [ ! -d /run/systemd/system ]; then
  # Its default companion wants systemd as PID 1, which is not what runs here.
  want+=(libvirt-daemon-system-sysv libvirt-daemon-system-systemd-)
fi

install=("${apt[@]}" install -y --no-install-recommends --no-remove)
if [[ " ${want[*]} " == *" qemu-system-x86 "* ]]; then
  # qemu-utils and qemu-system-common must be of one version: asked for qemu-system-x86
  # alone, apt removes a qemu-utils that came from backports. So name both, and find out
  # which way of doing so works before doing it.
  other=()
  for p in "${want[@]}"; do [ "$p" = qemu-utils ] || other+=("$p"); done
  release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  version=$(apt-cache policy qemu-system-x86 | sed -n 's/^ *Candidate: //p')
  if "${install[@]}" -s "${other[@]}" qemu-utils >/dev/null 2>&1; then
    want=("${other[@]}" qemu-utils)
  elif "${install[@]}" -s -t "$release-backports" "${other[@]}" qemu-utils >/dev/null 2>&1; then
    install+=(-t "$release-backports")
    want=("${other[@]}" qemu-utils)
    say "QEMU comes from $release-backports, as your qemu-utils does"
  else
    install+=(--allow-downgrades)
    want=("${other[@]}" "qemu-utils=$version")
    say "qemu-utils becomes version $version: apt has no qemu-system-x86 that fits the one you have"
  fi
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${as_root[@]}" "${install[@]}" "${want[@]}" >"$log" 2>&1; then
  cat "$log" >&2
  die "apt-get could not install: ${want[*]}"
fi
left=" $(installed "${names[@]}" | tr '\n' ' ') "
for p in "${missing[@]}"; do [[ $left == *" $p "* ]] || die "$p is still missing after apt-get succeeded"; done
say "installed ${#missing[@]} packages"
