#!/usr/bin/env bash
# Builds the tiny guest: a real kernel, GRUB in the MBR, static busybox.
#
#   scripts/guest-image/build.sh        -> target/images/tiny.qcow2, target/images/tiny-rescue.qcow2
#
# Owns: target/images/tiny*.qcow2 and their stamp, target/cache/linux-image-*.deb. Needs no
# privileges, mounts nothing, and no network once the kernel package is in the cache. Does
# nothing when no input changed. The two images differ in name, UUID and label only.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
cache=$root/target/cache
images=$root/target/images
epoch=1700000000 # of every file; any fixed time does
disk_mib=64
first_sector=2048 # 1 MiB for GRUB, as everybody does
# The partition ends with a cylinder of 255 heads and 63 sectors: fdisk guesses the geometry from
# where the last one ends, and else complains at every start of the guest.
sectors=$((disk_mib * 2048 / 16065 * 16065 - first_sector))
grub=/usr/lib/grub/i386-pc

say() { printf 'image: %s\n' "$*"; }
die() { printf 'image: %s\n' "$*" >&2; exit 1; }

# variant | UUID of its root file system | signature of its disk
# They must differ: in a rescue both disks are attached, and each must boot its own.
VARIANTS='
tiny        72657072-6965-4765-8001-74696e790001 \x52\x50\x01\x01
tiny-rescue 72657072-6965-4765-8002-726573637565 \x52\x50\x02\x02
'

# Loaded at boot: into the initramfs what finds the root, into the root the rest.
early=(virtio_pci virtio_blk)
later=(ata_piix sr_mod isofs vfat nls_cp437 nls_ascii nls_utf8 evdev button virtio_balloon virtio-rng)

for tool in busybox grub-mkimage mke2fs debugfs cpio zstd qemu-img; do
  command -v $tool >/dev/null || die "$tool is missing: scripts/setup.sh guest"
done
busybox=$(command -v busybox)

mkdir -p "$cache" "$images"
exec 9>"$images/.lock"
flock -w 300 9 || die "another build takes too long"

kernel_deb() { find "$cache" -maxdepth 1 -name 'linux-image-*.deb' | sort -V | tail -n 1; }
deb=$(kernel_deb)
if [ -z "$deb" ]; then
  # The cloud kernel has every driver of a virtual machine and boots faster than the general one.
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
  [ -n "$package" ] || die "apt does not know linux-image-cloud-amd64: run apt-get update first"
  say "downloading $package (it is not installed, only unpacked)"
  part=$cache/part.$$
  mkdir -p "$part"
  (cd "$part" && timeout 300 apt-get -qq -o APT::Sandbox::User=root download "$package") ||
    { rm -rf "$part"; die "could not download $package"; }
  mv "$part"/*.deb "$cache/"
  rm -rf "$part"
  deb=$(kernel_deb)
fi

# busybox and GRUB count as inputs too: an upgrade of them is a new image.
stamp=$(cd "$here" && { printf '%s\n' "${deb##*/}"; find build.sh initramfs-init rootfs -type f | LC_ALL=C sort | xargs sha256sum
  sha256sum "$busybox" $grub/kernel.img; } | sha256sum)
if [ -f "$images/tiny.qcow2" ] && [ -f "$images/tiny-rescue.qcow2" ] && [ "$(cat "$images/.stamp" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi

begin=$SECONDS
say "building from ${deb##*/}"
work=$(mktemp -d "${TMPDIR:-/tmp}/guest-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
umask 022

dpkg-deb -x "$deb" "$work/kernel"
release=$(basename "$work"/kernel/lib/modules/*)
modules=$work/kernel/lib/modules/$release
"$busybox" depmod -b "$work/kernel" "$release" 2>/dev/null

# module name -> its file and what it depends on, dependencies first
files_of() {
  local name file deps d
  for name in "$@"; do
    # In file names, - and _ are the same letter.
    file=$(sed -n "s|^\(\(.*/\)\{0,1\}${name//[-_]/[-_]}\.ko\):.*|\1|p" "$modules/modules.dep")
    [ -n "$file" ] || die "the kernel has no module $name"
    deps=$(sed -n "s|^$file: *||p" "$modules/modules.dep")
    # depmod lists the nearest first
    # shellcheck disable=SC2086 # a list
    for d in $(printf '%s\n' $deps | tac) "$file"; do printf '%s\n' "$d"; done
  done | awk '!seen[$0]++'
}

ramfs=$work/ramfs
mkdir -p "$ramfs"/{bin,dev,proc,sys,newroot,modules}
cp "$busybox" "$ramfs/bin/busybox"
install -m 755 "$here/initramfs-init" "$ramfs/init"
while read -r file; do
  cp "$modules/$file" "$ramfs/modules/"
  basename "$file" >>"$ramfs/modules/order"
done < <(files_of "${early[@]}")

tree=$work/tree
mkdir -p "$tree"/{bin,boot,dev,etc,media,mnt,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,var/lib,var/log,lib/modules/"$release"}
cp -R "$here/rootfs/." "$tree/"
chmod 600 "$tree/etc/shadow"
chmod 700 "$tree/root"
chmod 1777 "$tree/tmp"
cp "$busybox" "$tree/bin/busybox"
for applet in $("$busybox" --list-full); do
  [ "$applet" = bin/busybox ] || [ -e "$tree/$applet" ] || ln -s /bin/busybox "$tree/$applet"
done
ln -s bin/busybox "$tree/init"
while read -r file; do install -D -m 644 "$modules/$file" "$tree/lib/modules/$release/$file"; done < <(files_of "${early[@]}" "${later[@]}")
"$busybox" depmod -b "$tree" "$release" 2>/dev/null
install -m 644 "$work/kernel/boot/vmlinuz-$release" "$tree/boot/vmlinuz"
find "$work/ramfs" "$tree" -exec touch -h -d "@$epoch" {} +
# -1: the guest unpacks it with an emulated CPU, which costs more than reading some more bytes.
(cd "$ramfs" && find . -print0 | LC_ALL=C sort -z | cpio --quiet -0 -o -H newc --owner 0:0 --reproducible) |
  zstd -q -1 >"$tree/boot/initrd"

build() { # variant, UUID, signature
  local name=$1 uuid=$2 signature=$3
  local fs=$work/$name.ext4 disk=$work/$name.raw label=$1
  printf 'VARIANT=%s\n' "$name" >"$tree/etc/reprieve-guest"
  printf '%s\n' "$name" >"$tree/etc/hostname"
  find "$tree" -exec touch -h -d "@$epoch" {} +

  # Without the newer features GRUB can read it, and no checksum module is needed to mount it.
  truncate -s $((sectors * 512)) "$fs"
  E2FSPROGS_FAKE_TIME=$epoch mke2fs -q -F -t ext4 -O '^metadata_csum,^64bit,^orphan_file,^metadata_csum_seed' -m 0 -b 4096 \
    -U "$uuid" -L "$label" -E "hash_seed=$uuid,root_owner=0:0,lazy_itable_init=0" -d "$tree" "$fs"
  # mke2fs copies the owner of each file, which is whoever builds this.
  (cd "$tree" && find . -mindepth 1 -printf 'sif /%P uid 0\nsif /%P gid 0\nsif /%P ctime @'$epoch'\nsif /%P atime @'$epoch'\n') |
    E2FSPROGS_FAKE_TIME=$epoch debugfs -w -f - "$fs" >/dev/null 2>&1

  # Only the few commands of the embedded script are there, no menu, so no time-out. The hint
  # makes the disk that is booted win where two have the same UUID.
  # linux16, because with `linux` it took 3.5 s more until the kernel ran, under TCG.
  cat >"$work/grub.cfg" <<CFG
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
search.fs_uuid $uuid root hd0,msdos1
linux16 /boot/vmlinuz root=UUID=$uuid console=ttyS0,115200n8 quiet loglevel=3 mitigations=off nokaslr no_timer_check cryptomgr.notests random.trust_cpu=on
initrd16 /boot/initrd
boot
CFG
  grub-mkimage -O i386-pc -d $grub -p '(hd0,msdos1)/boot/grub' -c "$work/grub.cfg" -o "$work/core.img" \
    biosdisk part_msdos ext2 linux16 serial terminal search_fs_uuid boot
  [ "$(stat -c %s "$work/core.img")" -le $(((first_sector - 1) * 512)) ] || die "GRUB does not fit before the partition"

  truncate -s ${disk_mib}M "$disk"
  dd if=$grub/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
  le32() { printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }
  chs() { printf '\\x%02x\\x%02x\\x%02x' $(($1 / 63 % 255)) $(($1 % 63 + 1)) $(($1 / 16065)); } # below 4 GB
  # signature of the disk, then one active partition of type 83
  # shellcheck disable=SC2059 # the format is made of escapes
  printf "$signature\\x00\\x00\\x80$(chs $first_sector)\\x83$(chs $((first_sector + sectors - 1)))$(le32 $first_sector)$(le32 $sectors)" |
    dd of="$disk" bs=1 seek=440 conv=notrunc status=none
  printf '\x55\xaa' | dd of="$disk" bs=1 seek=510 conv=notrunc status=none
  dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
  dd if="$fs" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none

  qemu-img convert -c -f raw -O qcow2 "$disk" "$work/$name.qcow2"
  # Whoever looks sees the old image or the new one, never a part.
  mv "$work/$name.qcow2" "$images/$name.qcow2.new"
  mv "$images/$name.qcow2.new" "$images/$name.qcow2"
  rm -f "$fs" "$disk"
  say "$name.qcow2: $(du -h --apparent-size "$images/$name.qcow2" | cut -f1), disk of $disk_mib MiB, root $uuid"
}

rm -f "$images/.stamp"
while read -r name uuid signature; do
  [ -z "$name" ] || build "$name" "$uuid" "$signature"
done <<<"$VARIANTS"
printf '%s\n' "$stamp" >"$images/.stamp"
say "took $((SECONDS - begin)) s"
