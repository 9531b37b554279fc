//! How much memory running jobs may hold together.

/// A quarter of the memory that is free now, at least 256 MB; 2 GB where the system does not say.
pub fn default_memory() -> u64 {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse_available(&text));
    available.map_or(2 << 30, |bytes| (bytes / 4).max(256 << 20))
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_in_kibibytes() {
        assert_eq!(parse_available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(parse_available("nothing"), None);
    }
}
