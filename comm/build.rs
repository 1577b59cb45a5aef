//! Compiles the shim over LibTorch's c10d, and writes LibTorch's folder into the run path of tests and examples.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=native");
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    // What the main crate says of a LibTorch that is not there need not be said twice.
    let Ok(lib) = lib.canonicalize() else { return };
    println!("cargo:rerun-if-changed={}", lib.join("libtorch.so").display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    let include = lib.with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(1)
        .debug(false)
        .define("USE_C10D_GLOO", None)
        // Of Gloo's own headers, which LibTorch does not come with.
        .include("native")
        .includes([include.join("torch/csrc/api/include"), include])
        .file("native/group.cpp")
        .compile("score_sde_comm");
}
