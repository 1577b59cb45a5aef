//! Writes LibTorch's folder into the binaries' run path, so that they start without LD_LIBRARY_PATH.
fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = std::env::var_os("LIBTORCH") else { return };
    match std::fs::canonicalize(&libtorch) {
        Ok(folder) => {
            println!("cargo:rerun-if-changed={}", folder.join("lib/libtorch.so").display());
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.join("lib").display());
        }
        Err(_) => {
            println!("cargo:warning=LibTorch is not at {}: run scripts/libtorch once", libtorch.display());
        }
    }
}
