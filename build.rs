//! Compiles the operations in C++, and writes LibTorch's folder into the binaries' run path, so that they start without LD_LIBRARY_PATH.
use std::path::PathBuf;

const OPERATIONS: &str = "src/net/native";

fn main() {
    println!("cargo:rerun-if-changed={OPERATIONS}");
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    let Ok(lib) = lib.canonicalize() else {
        println!("cargo:warning=LibTorch is not at {}: run scripts/libtorch once", lib.display());
        return;
    };
    println!("cargo:rerun-if-changed={}", lib.join("libtorch.so").display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    let include = lib.with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(3)
        .debug(false)
        .flag_if_supported("-fno-math-errno")
        .flag_if_supported("-fno-trapping-math")
        .includes([include.join("torch/csrc/api/include"), include])
        .file(format!("{OPERATIONS}/norm.cpp"))
        .compile("score_sde_operations");
}
