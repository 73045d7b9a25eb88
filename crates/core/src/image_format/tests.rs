use proptest::prelude::*;

use super::*;
use ImageFormatError as E;

const CLUSTER: usize = 65536;
const SIZE: u64 = 4 * CLUSTER as u64;

/// A QCOW2 version 3 header as `qemu-img create` lays it out: refcount table in the second cluster,
/// L1 table in the fourth, a feature name table between header and end mark.
fn qcow2() -> Vec<u8> {
    let mut head = vec![0; CLUSTER];
    put(&mut head, 0, b"QFI\xfb");
    put32(&mut head, 4, 3);
    put32(&mut head, 20, 16);
    put64(&mut head, 24, 1 << 30);
    put32(&mut head, 36, 2);
    put64(&mut head, 40, 3 * CLUSTER as u64);
    put64(&mut head, 48, CLUSTER as u64);
    put32(&mut head, 56, 1);
    put32(&mut head, 96, 4);
    put32(&mut head, 100, 112);
    put32(&mut head, 112, 0x6803_f857);
    put32(&mut head, 116, 48);
    head
}

fn put(head: &mut [u8], at: usize, bytes: &[u8]) {
    head[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put32(head: &mut [u8], at: usize, value: u32) {
    put(head, at, &value.to_be_bytes());
}

fn put64(head: &mut [u8], at: usize, value: u64) {
    put(head, at, &value.to_be_bytes());
}

/// An overlay: backing format extension in front, backing file name after the extensions.
fn overlay(backing: &[u8]) -> Vec<u8> {
    let mut head = qcow2();
    put32(&mut head, 112, 0xe279_2aca);
    put32(&mut head, 116, 5);
    put(&mut head, 120, b"qcow2");
    put64(&mut head, 8, 512);
    put32(&mut head, 16, backing.len() as u32);
    put(&mut head, 512, backing);
    head
}

fn changed(change: impl FnOnce(&mut [u8])) -> Result<ImageFacts> {
    let mut head = qcow2();
    change(&mut head);
    inspect(DiskFormat::Qcow2, &head, SIZE)
}

fn iso() -> Vec<u8> {
    let mut head = vec![0; CLUSTER];
    put(&mut head, 32768, b"\x01CD001\x01");
    head
}

#[test]
fn plain_images_are_accepted_with_their_virtual_size() {
    let raw = inspect(DiskFormat::Raw, &[0; CLUSTER], 10 << 20).unwrap();
    assert_eq!(raw, ImageFacts { format: DiskFormat::Raw, virtual_size: 10 << 20 });
    assert_eq!(inspect(DiskFormat::Raw, b"x", 1).unwrap().virtual_size, 1);
    assert_eq!(inspect(DiskFormat::Qcow2, &qcow2(), SIZE).unwrap().virtual_size, 1 << 30);
    assert_eq!(inspect(DiskFormat::Iso, &iso(), 1 << 20).unwrap().virtual_size, 1 << 20);
}

#[test]
fn a_bootable_iso_may_begin_with_a_boot_sector() {
    let mut head = iso();
    put(&mut head, 510, b"\x55\xaa");
    inspect(DiskFormat::Iso, &head, 1 << 20).unwrap();
    assert_eq!(
        inspect(DiskFormat::Iso, &[0; CLUSTER], 1 << 20),
        Err(E::NoSignature(DiskFormat::Iso))
    );
    assert_eq!(
        inspect(DiskFormat::Iso, &head[..32768], 32768),
        Err(E::NoSignature(DiskFormat::Iso))
    );
}

#[test]
fn disguised_formats_are_refused() {
    let vdi = {
        let mut head = vec![0; 100];
        put(&mut head, 64, b"\x7f\x10\xda\xbe");
        head
    };
    let disguises: [(&[u8], &str); 12] = [
        (b"QFI\xfb\0\0\0\x03", "qcow or qcow2"),
        (b"QFI\xfb\0\0\0\x01", "qcow or qcow2"),
        (b"QED\0", "qed"),
        (b"KDMV", "vmdk"),
        (b"COWD", "vmdk"),
        (b"# Disk DescriptorFile\nversion=1\nRW 1 FLAT \"/etc/shadow\" 0\n", "vmdk"),
        (b"#\n\n  # more\nversion=1\n", "vmdk"),
        (b"vhdxfile", "vhdx"),
        (b"conectix", "vhd"),
        (b"LUKS\xba\xbe\0\x01", "luks"),
        (b"WithoutFreeSpace", "parallels"),
        (&vdi, "vdi"),
    ];
    for (start, name) in disguises {
        let mut head = iso();
        put(&mut head, 0, start);
        for declared in [DiskFormat::Raw, DiskFormat::Iso] {
            let error = inspect(declared, &head, 1 << 20).unwrap_err();
            assert_eq!(error, E::Disguised { declared, found: name });
        }
        if name != "qcow or qcow2" {
            let error = inspect(DiskFormat::Qcow2, &head, 1 << 20).unwrap_err();
            assert_eq!(error, E::Disguised { declared: DiskFormat::Qcow2, found: name });
        }
    }
}

#[test]
fn a_script_is_no_vmdk() {
    let mut head = vec![0; CLUSTER];
    put(&mut head, 0, b"#!/bin/sh\necho version=1\n");
    inspect(DiskFormat::Raw, &head, 1 << 20).unwrap();
}

#[test]
fn the_window_has_to_be_large_enough() {
    let error = inspect(DiskFormat::Raw, &[0; 100], 1 << 20).unwrap_err();
    assert_eq!(error, E::WindowTooSmall { needed: WINDOW_BYTES, given: 100 });
    assert_eq!(inspect(DiskFormat::Raw, &[], 0), Err(E::Empty));
    inspect(DiskFormat::Raw, &[0; 100], 100).unwrap();
    assert_eq!(
        inspect(DiskFormat::Raw, &[0; CLUSTER], MAX_VIRTUAL_BYTES + 1),
        Err(E::TooLarge(MAX_VIRTUAL_BYTES + 1))
    );
}

#[test]
fn qcow2_that_reads_from_elsewhere_is_refused() {
    let backed = overlay(b"/etc/shadow");
    assert_eq!(inspect(DiskFormat::Qcow2, &backed, SIZE), Err(E::BackingFile));
    let header = Qcow2Header::parse(&backed, SIZE).unwrap();
    assert_eq!(header.backing_file.as_deref(), Some(&b"/etc/shadow"[..]));
    assert_eq!(header.backing_format.as_deref(), Some(&b"qcow2"[..]));
    // A backing format without a backing file announces nothing good either.
    let only_format = changed(|head| put32(head, 112, 0xe279_2aca));
    assert_eq!(only_format, Err(E::BackingFile));
    assert_eq!(changed(|head| put64(head, 72, 4)), Err(E::ExternalDataFile));
    assert_eq!(changed(|head| put32(head, 112, 0x4441_5441)), Err(E::ExternalDataFile));
    // json: and nbd: are names like any other: they are not allowed because none is.
    let json = overlay(b"json:{\"driver\":\"nbd\"}");
    assert_eq!(inspect(DiskFormat::Qcow2, &json, SIZE), Err(E::BackingFile));
}

#[test]
fn qcow2_that_needs_more_than_we_know_is_refused() {
    assert_eq!(changed(|head| put32(head, 4, 1)), Err(E::Qcow2Version(1)));
    assert_eq!(changed(|head| put32(head, 4, 4)), Err(E::Qcow2Version(4)));
    assert_eq!(changed(|head| put64(head, 72, 1 << 5)), Err(E::UnknownFeatures(1 << 5)));
    assert_eq!(changed(|head| put64(head, 72, 1 << 63)), Err(E::UnknownFeatures(1 << 63)));
    assert_eq!(changed(|head| put32(head, 32, 2)), Err(E::Encrypted));
    assert_eq!(changed(|head| put32(head, 112, 0x0537_be77)), Err(E::Encrypted));
    assert_eq!(changed(|head| put32(head, 60, 3)), Err(E::Snapshots(3)));
    assert_eq!(changed(|head| put64(head, 72, 1)), Err(E::NotClean));
    assert_eq!(changed(|head| put64(head, 72, 2)), Err(E::NotClean));
    // Compatible and autoclear features, and extensions nobody knows, are for ignoring.
    changed(|head| put64(head, 80, u64::MAX)).unwrap();
    changed(|head| put64(head, 88, u64::MAX)).unwrap();
    changed(|head| put32(head, 112, 0x1234_5678)).unwrap();
}

#[test]
fn qcow2_zstd_and_extended_l2_are_known() {
    changed(|head| {
        put64(head, 72, 1 << 3);
        put(head, 104, &[1]);
    })
    .unwrap();
    // With entries twice as long, an L1 entry covers half as much.
    changed(|head| {
        put64(head, 72, 1 << 4);
        put32(head, 36, 4);
    })
    .unwrap();
    let too_small = changed(|head| put64(head, 72, 1 << 4));
    assert_eq!(too_small, Err(E::Invalid("its L1 table is too small for its size")));
    for (feature, kind) in [(1 << 3, 0), (0, 1), (1 << 3, 2)] {
        let wrong = changed(|head| {
            put64(head, 72, feature);
            put(head, 104, &[kind]);
        });
        assert_eq!(wrong, Err(E::Invalid("its compression type is unknown")));
    }
}

#[test]
fn qcow2_fields_out_of_bounds_are_refused() {
    let invalid = |change: &dyn Fn(&mut [u8])| {
        let error = changed(|head| change(head)).unwrap_err();
        assert!(matches!(error, E::Invalid(_)), "{error}");
    };
    invalid(&|head| put32(head, 20, 8));
    invalid(&|head| put32(head, 20, 22));
    invalid(&|head| put64(head, 24, 0));
    invalid(&|head| put32(head, 36, 0));
    invalid(&|head| put32(head, 36, u32::MAX));
    invalid(&|head| put64(head, 40, 0));
    invalid(&|head| put64(head, 40, 3 * CLUSTER as u64 + 8));
    invalid(&|head| put64(head, 40, SIZE));
    invalid(&|head| put64(head, 40, !0xffff));
    invalid(&|head| put64(head, 48, 0));
    invalid(&|head| put64(head, 48, 1 << 40));
    invalid(&|head| put32(head, 56, 0));
    invalid(&|head| put32(head, 56, u32::MAX));
    invalid(&|head| put32(head, 96, 7));
    invalid(&|head| put32(head, 100, 72));
    invalid(&|head| put32(head, 100, 105));
    invalid(&|head| put32(head, 100, !7));
    invalid(&|head| put32(head, 116, u32::MAX));
    invalid(&|head| put32(head, 116, CLUSTER as u32));
    invalid(&|head| put64(head, 8, u64::MAX));
    invalid(&|head| {
        put64(head, 8, CLUSTER as u64 - 1);
        put32(head, 16, 2);
    });
    invalid(&|head| {
        put64(head, 8, 512);
        put32(head, 16, 1024);
    });
    assert_eq!(changed(|head| put64(head, 24, 1 << 50)), Err(E::TooLarge(1 << 50)));
}

#[test]
fn qcow2_version_2_has_its_extensions_right_behind_its_short_header() {
    let mut head = qcow2();
    put32(&mut head, 4, 2);
    put(&mut head, 72, &[0; 100]);
    inspect(DiskFormat::Qcow2, &head, SIZE).unwrap();
    put32(&mut head, 72, 0x4441_5441);
    put32(&mut head, 76, 4);
    assert_eq!(inspect(DiskFormat::Qcow2, &head, SIZE), Err(E::ExternalDataFile));
}

proptest! {
    /// Whatever is uploaded: an answer, never a panic.
    #[test]
    fn arbitrary_bytes_never_panic(
        head in prop::collection::vec(any::<u8>(), 0..2048),
        size in prop_oneof![0u64..4096, any::<u64>()],
    ) {
        for format in DiskFormat::ALL {
            let _ = inspect(*format, &head, size);
        }
        let _ = Qcow2Header::parse(&head, size);
    }

    /// The same near a valid header, where the interesting branches are, and what is accepted keeps
    /// every promise.
    #[test]
    fn damaged_headers_never_panic_and_never_smuggle(
        damage in prop::collection::vec((0usize..176, any::<u8>()), 1..8),
        with_backing in any::<bool>(),
        size in prop_oneof![Just(SIZE), any::<u64>()],
        length in prop_oneof![Just(CLUSTER), 0usize..600],
    ) {
        let mut head = if with_backing { overlay(b"/base") } else { qcow2() };
        for (at, byte) in damage {
            head[at] = byte;
        }
        head.truncate(length);
        let _ = Qcow2Header::parse(&head, size);
        if let Ok(facts) = inspect(DiskFormat::Qcow2, &head, size) {
            let header = Qcow2Header::parse(&head, size).unwrap();
            prop_assert!(header.backing_file.is_none() && !header.external_data);
            prop_assert!(facts.virtual_size > 0 && facts.virtual_size <= MAX_VIRTUAL_BYTES);
        }
        prop_assert!(inspect(DiskFormat::Raw, &head, size).is_err() || !head.starts_with(QCOW2_MAGIC));
    }
}
