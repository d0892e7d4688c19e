// Finds libvirtine: in VIRTINE_LIBRARY_DIR if it is set, else where the linker looks.
// SPDX-License-Identifier: MIT
fn main() {
    println!("cargo:rerun-if-env-changed=VIRTINE_LIBRARY_DIR");
    if let Ok(dir) = std::env::var("VIRTINE_LIBRARY_DIR") {
        println!("cargo:rustc-link-search=native={dir}");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{dir}");
    }
    println!("cargo:rustc-link-lib=dylib=virtine");
}
