//! Where a network runs.

use super::RunError;
use candle_core::{Device, DeviceLocation};

/// The device of a name: `cpu`, `cuda`, `cuda:N`. Without a name the first GPU where the program was built for one and
/// there is one, else the CPU. A GPU that is there and cannot be opened is an error, not a reason to run elsewhere.
pub fn device(name: Option<&str>) -> Result<Device, RunError> {
    match name {
        None if gpus() == 0 => Ok(Device::Cpu),
        None => open(0).map_err(|e| {
            let e = first_line(&e);
            let remedy = "--device cpu runs without it, and so does CUDA_VISIBLE_DEVICES= in the environment";
            RunError::Device(format!("the GPU cannot be opened: {e}; {remedy}"))
        }),
        Some("cpu") => Ok(Device::Cpu),
        Some(name) => {
            let number = if name == "cuda" { Some(0) } else { name.strip_prefix("cuda:").and_then(|n| n.parse().ok()) };
            let number = number.ok_or_else(|| RunError::Device(format!("--device {name}: cpu, cuda or cuda:N")))?;
            if !candle_core::utils::cuda_is_available() {
                let why = "this program was built without the feature `cuda`: build it with `cargo install --path . --features cuda`";
                return Err(RunError::Device(format!("--device {name}: {why}")));
            }
            open(number).map_err(|e| RunError::Device(format!("--device {name}: {}", first_line(&e))))
        }
    }
}

/// What went wrong without the trace that candle appends.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The word that names a device.
pub fn named(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

/// All threads share one stream: with a stream for each, a thread could read what another has not written yet.
fn open(number: usize) -> candle_core::Result<Device> {
    Device::new_cuda_with_stream(number)
}

/// How many GPUs there are. A driver that cannot say counts as one, so that opening it tells why.
#[cfg(feature = "cuda")]
fn gpus() -> usize {
    use candle_core::cuda_backend::cudarc::driver::{CudaContext, sys::CUresult};
    match CudaContext::device_count() {
        Ok(count) => count.max(0) as usize,
        Err(error) if error.0 == CUresult::CUDA_ERROR_NO_DEVICE => 0,
        Err(_) => 1,
    }
}

#[cfg(not(feature = "cuda"))]
fn gpus() -> usize {
    0
}

/// Bytes of a GPU's memory: free, and in all.
#[cfg(feature = "cuda")]
pub fn memory(device: &Device) -> Option<[usize; 2]> {
    let Device::Cuda(gpu) = device else { return None };
    gpu.cuda_stream().context().mem_get_info().ok().map(|(free, all)| [free, all])
}

/// Bytes of a GPU's memory: free, and in all.
#[cfg(not(feature = "cuda"))]
pub fn memory(_: &Device) -> Option<[usize; 2]> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_device_are_refused_with_what_there_is() {
        assert!(matches!(device(Some("cpu")), Ok(Device::Cpu)));
        assert_eq!(named(&Device::Cpu), "cpu");
        let told = |name| device(Some(name)).err().map_or(String::new(), |e| e.to_string());
        assert!(told("tpu").contains("cpu, cuda or cuda:N"), "{}", told("tpu"));
        assert!(told("cuda:x").contains("cpu, cuda or cuda:N"));
        if !candle_core::utils::cuda_is_available() {
            assert!(told("cuda").contains("--features cuda"), "{}", told("cuda"));
            assert!(matches!(device(None), Ok(Device::Cpu)));
        }
    }
}
