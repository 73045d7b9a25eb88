//! How `reprieved` is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(name).unwrap_or_default();
    // Where Rust links with LLD.
    let lld = ["OS", "ENV", "ARCH"].map(|part| target(&format!("CARGO_CFG_TARGET_{part}")));
    if lld == ["linux", "gnu", "x86_64"] {
        // The addresses to mend at start, 24 bytes each, as a bitmap (glibc 2.36).
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
