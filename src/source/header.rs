//! The header of a safetensors file: names, types, shapes and places of its tensors, checked against each other and the
//! file's length before anything is read.

use super::OpenError;
use crate::model::DType;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// No header is longer, as in the format's own reader.
const LONGEST: u64 = 100_000_000;

/// A tensor of a header.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Its bytes, counted from the beginning of the file.
    pub range: Range<usize>,
}

/// A whole header; tensors in the order of their bytes.
#[derive(Debug, Default)]
pub struct Header {
    pub tensors: Vec<Entry>,
    pub metadata: BTreeMap<String, String>,
}

/// Reads and checks a header.
///
/// # Errors
/// What contradicts what, with the tensor's name; `again` is the remedy.
pub fn read(path: &Path, bytes: &[u8], again: &str) -> Result<Header, OpenError> {
    let remedy = if bytes.starts_with(b"version https://git-lfs") {
        "it is a Git LFS pointer: run `git lfs pull`"
    } else {
        again
    };
    let broken = |what: String| OpenError::broken(path, what, remedy);
    let text = text(bytes).map_err(broken)?;
    let mut header: Header = match serde_json::from_str(text) {
        Ok(header) => header,
        // What this reader itself has found is said in its own words.
        Err(e) if e.is_data() && e.to_string().starts_with("tensor ") => return Err(broken(own(&e))),
        Err(e) => {
            let what = "its header is damaged, or it is not a safetensors file";
            return Err(OpenError::caused(path, what, remedy, e));
        }
    };
    header.tensors.sort_by(|a, b| (a.range.start, a.range.end, &a.name).cmp(&(b.range.start, b.range.end, &b.name)));
    let start = 8 + text.len();
    let mut at = 0;
    for tensor in &mut header.tensors {
        if let Some(what) = contradiction(tensor, at) {
            return Err(broken(format!("tensor {}: {what}", tensor.name)));
        }
        at = tensor.range.end;
        let shifted = (start.checked_add(tensor.range.start), start.checked_add(at));
        let (Some(from), Some(to)) = shifted else { return Err(broken("it is larger than any file".to_owned())) };
        tensor.range = from..to;
    }
    let (expected, length) = (start as u64 + at as u64, bytes.len() as u64);
    match length.cmp(&expected) {
        std::cmp::Ordering::Equal => Ok(header),
        std::cmp::Ordering::Less => {
            Err(broken(format!("is truncated: {} of {expected} bytes are missing", expected - length)))
        }
        std::cmp::Ordering::Greater => Err(broken(format!("has {} bytes after its last tensor", length - expected))),
    }
}

/// The text between the length and the data.
fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!("is only {} bytes long: not a safetensors file", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    let text = usize::try_from(length).ok().filter(|_| length <= LONGEST).and_then(|n| rest.get(..n));
    let Some(text) = text else {
        let looks_like_text = bytes.iter().take(64).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
        return Err(if looks_like_text {
            "is text, not a safetensors file".to_owned()
        } else {
            "its header is longer than the file: truncated, or not a safetensors file".to_owned()
        });
    };
    if text.is_empty() {
        return Err("its header is empty: not a safetensors file".to_owned());
    }
    std::str::from_utf8(text).map_err(|e| format!("its header is not UTF-8 from byte {} on", 8 + e.valid_up_to()))
}

/// Why a tensor cannot be where its header says, after `at` bytes of others.
fn contradiction(tensor: &Entry, at: usize) -> Option<String> {
    let Range { start, end } = tensor.range;
    if end < start {
        return Some(format!("its offsets {start} and {end} are reversed"));
    }
    let elements = tensor.shape.iter().try_fold(1usize, |n, e| n.checked_mul(*e));
    let Some(bits) = elements.and_then(|n| n.checked_mul(tensor.dtype.bits())) else {
        return Some(format!("its shape {:?} is larger than any file", tensor.shape));
    };
    if bits % 8 != 0 || bits / 8 != end - start {
        let (shape, dtype, length) = (&tensor.shape, tensor.dtype.name(), end - start);
        return Some(format!("shape {shape:?} of {dtype} and its {length} bytes contradict each other"));
    }
    (start != at)
        .then(|| format!("its offsets overlap another's or leave a gap: from {start}, {at} bytes stand before"))
}

/// A message without the place that serde_json adds.
fn own(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}

/// Type, shape and offsets of one tensor.
#[derive(serde::Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    dtype: std::borrow::Cow<'a, str>,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                header.metadata = map.next_value::<Option<BTreeMap<String, String>>>()?.unwrap_or_default();
                continue;
            }
            let info = map.next_value::<Info>()?;
            let Some(dtype) = dtype(&info.dtype) else {
                return Err(A::Error::custom(format!("tensor {name}: elements of type {} are not known", info.dtype)));
            };
            let [start, end] = info.data_offsets;
            let mut shape = info.shape;
            shape.shrink_to_fit();
            header.tensors.push(Entry { name, dtype, shape, range: start..end });
        }
        let mut seen = HashSet::with_capacity(header.tensors.len());
        if let Some(twice) = header.tensors.iter().find(|t| !seen.insert(t.name.as_str())) {
            return Err(A::Error::custom(format!("tensor {}: stands twice in the header", twice.name)));
        }
        Ok(header)
    }
}

fn dtype(name: &str) -> Option<DType> {
    let unknown = |bits, name| Some(DType::Unknown { bits, name });
    match name {
        "BOOL" => Some(DType::Bool),
        "U8" => Some(DType::U8),
        "I8" => Some(DType::I8),
        "F8_E5M2" => Some(DType::F8E5M2),
        "F8_E4M3" => Some(DType::F8E4M3),
        "I16" => Some(DType::I16),
        "U16" => Some(DType::U16),
        "F16" => Some(DType::F16),
        "BF16" => Some(DType::BF16),
        "I32" => Some(DType::I32),
        "U32" => Some(DType::U32),
        "F32" => Some(DType::F32),
        "F64" => Some(DType::F64),
        "I64" => Some(DType::I64),
        "U64" => Some(DType::U64),
        "F4" => unknown(4, "F4"),
        "F6_E2M3" => unknown(6, "F6_E2M3"),
        "F6_E3M2" => unknown(6, "F6_E3M2"),
        "F8_E8M0" => unknown(8, "F8_E8M0"),
        "F8_E4M3FNUZ" => unknown(8, "F8_E4M3FNUZ"),
        "F8_E5M2FNUZ" => unknown(8, "F8_E5M2FNUZ"),
        "C64" => unknown(64, "C64"),
        _ => None,
    }
}
