//! Where a network runs.

use super::RunError;
use candle_core::Device;

/// The device of a name: `cpu`, `cuda`, `cuda:N`. Without a name the first GPU where the program was built for one and
/// there is one, else the CPU.
pub fn device(name: Option<&str>) -> Result<Device, RunError> {
    match name {
        None if candle_core::utils::cuda_is_available() => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
        None | Some("cpu") => Ok(Device::Cpu),
        Some(name) => {
            let number = if name == "cuda" { Some(0) } else { name.strip_prefix("cuda:").and_then(|n| n.parse().ok()) };
            let number = number.ok_or_else(|| RunError::Device(format!("--device {name}: cpu, cuda or cuda:N")))?;
            if !candle_core::utils::cuda_is_available() {
                let why = "this program was built without the feature `cuda`: cargo install slimscope --features cuda";
                return Err(RunError::Device(format!("--device {name}: {why}")));
            }
            Device::new_cuda(number).map_err(|e| RunError::Device(format!("--device {name}: {e}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_device_are_refused_with_what_there_is() {
        assert!(matches!(device(Some("cpu")), Ok(Device::Cpu)));
        let told = |name| device(Some(name)).err().map_or(String::new(), |e| e.to_string());
        assert!(told("tpu").contains("cpu, cuda or cuda:N"), "{}", told("tpu"));
        assert!(told("cuda:x").contains("cpu, cuda or cuda:N"));
        if !candle_core::utils::cuda_is_available() {
            assert!(told("cuda").contains("--features cuda"), "{}", told("cuda"));
        }
    }
}
