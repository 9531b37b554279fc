//! What config.json says about quantisation.

use serde_json::Value;

/// `quantization_config` and its relatives.
#[derive(Debug, Clone, Copy, Default)]
pub struct QuantConfig<'a> {
    value: Option<&'a Value>,
    mlx: Option<&'a Value>,
    whole: Option<&'a Value>,
}

impl<'a> QuantConfig<'a> {
    /// Finds it in a config: at the top, or inside the text model's.
    pub fn of(config: Option<&'a Value>) -> Self {
        let places = ["/quantization_config", "/text_config/quantization_config", "/compression_config"];
        let at = |path: &str| config.and_then(|c| c.pointer(path)).filter(|v| v.is_object());
        let mlx = at("/quantization").filter(|q| q.get("group_size").is_some() || q.get("bits").is_some());
        Self { value: places.iter().find_map(|p| at(p)), mlx, whole: config }
    }
    /// Whether it says that weights are quantised.
    pub fn given(&self) -> bool {
        self.value.is_some() || self.mlx.is_some()
    }
    /// `quant_method` in lower case.
    pub fn method(&self) -> Option<String> {
        let text = |key: &str| self.value?.get(key)?.as_str().map(str::to_lowercase);
        text("quant_method").or_else(|| text("quant_algo")).or_else(|| text("quantization_status"))
    }
    /// Whether the model's experts are FP4 in a checkpoint of FP8.
    pub fn fp4_experts(&self) -> bool {
        self.whole.and_then(|c| c.get("expert_dtype")).and_then(Value::as_str).is_some_and(|d| d.contains("fp4"))
    }
    /// A whole number of it: bits, group size.
    pub fn number(&self, keys: &[&str]) -> Option<i64> {
        keys.iter().find_map(|k| self.value?.get(k)?.as_i64())
    }
    /// A word of it.
    pub fn word(&self, key: &str) -> Option<&'a str> {
        self.value?.get(key)?.as_str()
    }
    /// Rows and columns of a block that shares a scale.
    pub fn block(&self) -> Option<[usize; 2]> {
        let list = self.value?.get("weight_block_size")?.as_array()?;
        let at = |i: usize| list.get(i)?.as_u64().map(|n| n as usize);
        Some([at(0)?, at(1)?])
    }
    /// Weights of the first config group of compressed-tensors: a number of them, such as `num_bits`.
    pub fn group_number(&self, key: &str) -> Option<i64> {
        let groups = self.value?.get("config_groups")?.as_object()?;
        groups.values().find_map(|g| g.get("weights")?.get(key)?.as_i64())
    }
    /// MLX's `(bits, group_size, mode)` for a layer: its own entry, else the model's.
    pub fn mlx(&self, layer: &str) -> Option<(u64, u64, String)> {
        let all = self.mlx.or(self.value)?;
        let own = all.get(layer).filter(|v| v.is_object());
        let number = |key: &str| own.and_then(|o| o.get(key)).or_else(|| all.get(key))?.as_u64();
        let mode = own.and_then(|o| o.get("mode")).or_else(|| all.get("mode")).and_then(Value::as_str);
        Some((number("bits")?, number("group_size")?, mode.unwrap_or("affine").to_owned()))
    }
}
