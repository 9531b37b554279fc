//! Angles of rotary positions (Su et al., RoFormer, 2021), and how they are stretched for long contexts.

use super::reader::Reader;
use candle_core::{Device, Result, Tensor};
use serde_json::Value;
use std::f64::consts::PI;

/// Frequencies of the pairs of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Radians a position turns each pair, d/2 of them.
    pub frequencies: Vec<f64>,
}

impl Rope {
    /// From config.json: `rope_theta`, and `rope_scaling` or `rope_parameters` of the kinds default, linear, llama3.
    pub fn read(reader: &Reader, width: usize) -> std::result::Result<Self, String> {
        if !width.is_multiple_of(2) {
            return Err(format!("heads of an odd width, {width}, cannot be rotated"));
        }
        let scaling = reader.entry("rope_scaling").or_else(|| reader.entry("rope_parameters"));
        let theta = scaling.and_then(|s| s.get("rope_theta")).and_then(Value::as_f64);
        let theta = theta.map_or_else(|| reader.number("rope_theta", 10_000.0), Ok)?;
        let share = scaling.and_then(|s| s.get("partial_rotary_factor")).and_then(Value::as_f64);
        if share.map_or_else(|| reader.number("partial_rotary_factor", 1.0), Ok)? != 1.0 {
            return Err("partial_rotary_factor: heads that are rotated in part are not known".to_owned());
        }
        let plain = (0..width / 2).map(|i| theta.powf(-2.0 * i as f64 / width as f64));
        let frequencies = match scaling {
            None => plain.collect(),
            Some(scaling) => {
                let kind = scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(Value::as_str);
                scaled(plain.collect(), kind.unwrap_or("default"), scaling)?
            }
        };
        Ok(Self { frequencies })
    }

    /// Cosines and sines, T × d/2.
    pub fn table(&self, t: usize, device: &Device) -> Result<(Tensor, Tensor)> {
        let angles = (0..t).flat_map(|p| self.frequencies.iter().map(move |f| p as f64 * f));
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
        let shape = (t, self.frequencies.len());
        Ok((Tensor::from_vec(cos, shape, device)?, Tensor::from_vec(sin, shape, device)?))
    }
}

fn scaled(plain: Vec<f64>, kind: &str, scaling: &Value) -> std::result::Result<Vec<f64>, String> {
    let number = |key: &str| {
        let found = scaling.get(key).and_then(Value::as_f64).filter(|n| *n > 0.0);
        found.ok_or_else(|| format!("rope_scaling in config.json does not say {key}"))
    };
    match kind {
        "default" => Ok(plain),
        "linear" => {
            let factor = number("factor")?;
            Ok(plain.into_iter().map(|f| f / factor).collect())
        }
        // Llama 3.1: slow pairs are stretched, fast ones are not, and between the two it fades.
        "llama3" => {
            let (factor, low, high) = (number("factor")?, number("low_freq_factor")?, number("high_freq_factor")?);
            let context = number("original_max_position_embeddings")?;
            let one = |f: f64| {
                let wavelength = 2.0 * PI / f;
                let fade = ((context / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - fade) * f / factor + fade * f
            };
            Ok(plain.into_iter().map(one).collect())
        }
        other => Err(format!("rope_scaling of the type {other} is not known; linear and llama3 are")),
    }
}
