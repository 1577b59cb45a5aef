//! Memory: what the machine has, and what is said where it runs out.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::progress;

/// Bytes that this process can have: what Linux calls available, or less where a control group says so (containers, batch systems). Not
/// known on other systems.
pub fn available() -> Option<u64> {
    let limits = groups().into_iter().flat_map(|(folder, file)| limit(&folder, file));
    limits.chain(kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")).min()
}

/// Bytes of the machine's memory that this process holds. Not known on other systems than Linux.
pub fn used() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes that a line of Linux's tables states.
fn kilobytes(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The control groups of this process that may limit memory, each with the name of its limit: version 2, and 1.
fn groups() -> Vec<(PathBuf, &'static str)> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let below = path.trim_start_matches('/');
        match controllers {
            "" => Some((Path::new("/sys/fs/cgroup").join(below), "memory.max")),
            "memory" => Some((Path::new("/sys/fs/cgroup/memory").join(below), "memory.limit_in_bytes")),
            _ => None,
        }
    };
    text.lines().filter_map(group).collect()
}

/// The least limit of a group and those around it.
fn limit(folder: &Path, file: &str) -> Option<u64> {
    folder.ancestors().filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).min()
}

/// What LibTorch and the C++ library say where memory ends, or where a tensor has more numbers than there are.
const SAID: [&str; 6] = [
    "can't allocate memory",
    "not enough memory",
    "CUDA out of memory",
    "Storage size calculation overflowed",
    "std::bad_alloc",
    "numel: integer multiplication overflow",
];

/// The error that a panic's message stands for, if it is that memory ran out.
pub fn ran_out(message: &str) -> Option<Error> {
    SAID.iter().any(|said| message.contains(said)).then(error)
}

/// Memory ran out in the phase that is under way.
pub fn error() -> Error {
    let phase = progress::begun();
    let at = phase.map_or(String::new(), |phase| format!(" in the phase {phase}"));
    let help = format!("lower {}; what was saved before is intact, and score-sde check estimates what an experiment needs", key(phase));
    Error::Memory { message: format!("memory ran out{at}"), help }
}

/// What makes a phase smaller.
fn key(phase: Option<&str>) -> &'static str {
    match phase {
        Some("train") => "train.batch",
        Some("sample") => "sample.batch or sample.count",
        Some("dequantisation") => "dequantisation.variational.batch",
        Some("likelihood") => "likelihood.batch",
        Some("bound") => "likelihood.batch or the draws or paths of likelihood.bound",
        Some("lab") => "--count",
        _ => "the size of the network or of the data",
    }
}

/// Bytes for people, in powers of 1000: 820 MB, 1.2 GB, 14 GB.
pub fn bytes(n: u64) -> String {
    let units = [(1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")];
    let (unit, name) = units.into_iter().find(|(unit, _)| n as f64 >= *unit).unwrap_or((1e6, "MB"));
    let x = n as f64 / unit;
    if x < 9.95 { format!("{x:.1} {name}") } else { format!("{x:.0} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_its_groups_are_read() {
        let meminfo = "MemTotal:       24683656 kB\nMemFree:         3556064 kB\nMemAvailable:   22732492 kB\n";
        assert_eq!(kilobytes(meminfo, "MemAvailable:"), Some(22732492 * 1024));
        assert_eq!(kilobytes("MemTotal: 5 kB\n", "MemAvailable:"), None);
        let home = tempfile::tempdir().unwrap();
        let inner = home.path().join("job/step");
        fs::create_dir_all(&inner).unwrap();
        assert_eq!(limit(&inner, "memory.max"), None);
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(home.path().join("job/memory.max"), "4000\n").unwrap();
        assert_eq!(limit(&inner, "memory.max"), Some(4000), "that of the group around it");
        fs::write(inner.join("memory.max"), "3000\n").unwrap();
        assert_eq!(limit(&inner, "memory.max"), Some(3000));
        if cfg!(target_os = "linux") {
            assert!(available().unwrap() > 1 << 20);
            let before = used().unwrap();
            let held = vec![1u8; 1 << 27];
            assert!(used().unwrap() > before + (1 << 26), "{} bytes more", held.len());
        }
    }

    #[test]
    fn an_allocation_that_failed_is_told_from_a_bug() {
        tch::set_num_threads(1);
        // 2^45 numbers are more than any address space holds, 2^63 bytes more than can be counted.
        for shape in [vec![1i64 << 45], vec![1 << 31, 1 << 31, 1 << 31]] {
            let failed = tch::Tensor::f_empty(&shape[..], (tch::Kind::Float, tch::Device::Cpu)).unwrap_err().to_string();
            assert!(matches!(ran_out(&failed), Some(Error::Memory { .. })), "{failed}");
        }
        let bug = tch::Tensor::from_slice(&[1.0f32]).f_view([7]).unwrap_err().to_string();
        assert!(ran_out(&bug).is_none(), "{bug}");
    }

    #[test]
    fn bytes_are_short() {
        let shown = [0, 820_000_000, 999_900_000, 1_234_000_000, 14_400_000_000, 9_990_000_000_000];
        assert_eq!(shown.map(bytes), ["0.0 MB", "820 MB", "1000 MB", "1.2 GB", "14 GB", "10 TB"]);
    }
}
