//! Facts on disk, found by the content of the tensor and by what was asked: copies, shards and other processes share
//! them.
//!
//! Two levels. *Identity* (path, length and times of the file, the tensor's range) leads to the *content* (a hash of
//! the tensor's bytes), so that a second opening reads no weight; content and question lead to the fact. One small file
//! each: magic, the fact, and a hash over all of it. Files are written beside and renamed, never locked and never
//! mapped, so that network homes and job arrays are safe; anything that does not fit is computed anew and overwritten.

use crate::model::Layer;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Changes whenever facts of the same bytes may come out differently.
const VERSION: &str = "facts-6";
const MAGIC: &[u8; 8] = b"slimfact";
/// Bytes that the folder may hold.
const CAP: u64 = 2 << 30;
/// The folder is measured at the first store and then after so many.
const LOOK_EVERY: u64 = 1024;

/// Names certain bytes read in a certain way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(blake3::Hash);

impl Key {
    /// The key of a text that says all that an answer depends on.
    pub fn named(text: &str) -> Self {
        Self(blake3::hash(format!("{VERSION} {text}").as_bytes()))
    }
    /// The key of what was asked about this content.
    pub fn of(self, question: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.0.as_bytes());
        hasher.update(question.as_bytes());
        Self(hasher.finalize())
    }
}

/// How a layer's bytes are read, in words.
fn reading(layer: &Layer) -> String {
    let kind = if layer.kind.is_conv() { "convolution" } else { "linear" };
    let (matrix, shape, conv, dtype) = (layer.matrix, &layer.shape, layer.conv, layer.dtype.name());
    format!("{VERSION} {kind} {matrix:?} {shape:?} {conv:?} {:?} {dtype}", layer.orientation)
}

fn named(layer: &Layer, identity: &str) -> Key {
    Key(blake3::hash(format!("{} {identity}", reading(layer)).as_bytes()))
}

/// A folder of facts.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    cap: u64,
    stored: AtomicU64,
    /// Facts that could not be kept, and why the last could not.
    lost: Mutex<(u64, String)>,
}

impl Cache {
    /// Keeps facts under `folder`, which is made when first needed.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.join(VERSION), cap: CAP, stored: AtomicU64::new(0), lost: Mutex::default() }
    }

    /// The content of a layer whose tensor holds `bytes`; `None` when told to stop.
    pub fn content(layer: &Layer, bytes: &[u8], keep_going: &dyn Fn() -> bool) -> Option<Key> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(reading(layer).as_bytes());
        for piece in bytes.chunks(1 << 22) {
            if !keep_going() {
                return None;
            }
            hasher.update(piece);
        }
        Some(Key(hasher.finalize()))
    }

    /// The content of a layer whose tensor these words identify (its file's path, length and times, and its place in
    /// it), as it was when last hashed.
    pub fn recall(&self, layer: &Layer, identity: &str) -> Option<Key> {
        let bytes = self.get(named(layer, identity))?;
        Some(Key(blake3::Hash::from_bytes(bytes.try_into().ok()?)))
    }

    /// Remembers the content behind an identity.
    pub fn remember(&self, layer: &Layer, identity: &str, content: Key) -> io::Result<()> {
        self.put(named(layer, identity), content.0.as_bytes())
    }

    fn path(&self, key: Key) -> PathBuf {
        let name = key.0.to_hex();
        self.folder.join(&name[..2]).join(&name[2..])
    }

    /// What is kept under a key, when it is there and whole.
    pub fn get(&self, key: Key) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path(key)).ok()?;
        let (body, hash) = bytes.split_last_chunk::<32>()?;
        if blake3::hash(body) != *hash {
            return None;
        }
        body.strip_prefix(MAGIC).map(<[u8]>::to_vec)
    }

    /// Whether something can be kept there: tried out, leaving nothing behind.
    pub fn try_out(&self) -> io::Result<()> {
        let key = Key(blake3::hash(self.own_name().as_bytes()));
        self.put(key, b"yes")?;
        let found = self.get(key);
        fs::remove_file(self.path(key))?;
        match found {
            Some(_) => Ok(()),
            None => Err(io::Error::other("what was written does not come back")),
        }
    }

    /// A name that no other writer has, on other machines either.
    fn own_name(&self) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let number = self.stored.load(Ordering::Relaxed);
        let name = format!("{}-{:?}-{number}-{now}", std::process::id(), std::thread::current().id());
        blake3::hash(name.as_bytes()).to_hex()[..16].to_owned()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many facts could not be kept, and why the last could not.
    pub fn lost(&self) -> (u64, String) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a fact. A full disk or a read-only home is no reason to stop: the fact is on screen anyway.
    pub fn put(&self, key: Key, fact: &[u8]) -> io::Result<()> {
        self.write(key, fact).inspect_err(|error| {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            *lost = (lost.0 + 1, error.to_string());
        })
    }

    fn write(&self, key: Key, fact: &[u8]) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(fact);
        let hash = blake3::hash(&bytes);
        bytes.extend(hash.as_bytes());
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)?;
        // Other processes, on other machines too, may write the same file: each has a name of its own until it is whole.
        let beside = path.with_extension(self.own_name());
        let written = fs::write(&beside, &bytes).and_then(|()| fs::rename(&beside, &path));
        written.inspect_err(|_| drop(fs::remove_file(&beside)))?;
        if self.stored.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY) {
            self.shrink();
        }
        Ok(())
    }

    /// Removes the oldest files until nine tenths of the cap are left.
    fn shrink(&self) {
        let mut files: Vec<(std::time::SystemTime, u64, PathBuf)> = Vec::new();
        for folder in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                if let Ok(meta) = file.metadata() {
                    let age = meta.modified().unwrap_or(std::time::UNIX_EPOCH);
                    files.push((age, meta.len(), file.path()));
                }
            }
        }
        let mut total: u64 = files.iter().map(|f| f.1).sum();
        if total <= self.cap {
            return;
        }
        files.sort();
        for (_, bytes, path) in files {
            if total <= self.cap / 10 * 9 {
                return;
            }
            if fs::remove_file(path).is_ok() {
                total -= bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key(blake3::hash(&[n]))
    }

    #[test]
    fn what_was_put_is_found_and_damage_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        assert_eq!(cache.get(key(1)), None);
        cache.put(key(1), b"310").unwrap();
        assert_eq!(cache.get(key(1)), Some(b"310".to_vec()));
        assert_eq!(Cache::new(dir.path()).get(key(1)), Some(b"310".to_vec()), "another process finds it");
        let path = cache.path(key(1));
        let whole = fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[i] ^= 4;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(cache.get(key(1)), None, "byte {i}");
            fs::write(&path, &whole[..i]).unwrap();
            assert_eq!(cache.get(key(1)), None, "cut at {i}");
        }
        cache.put(key(1), b"2").unwrap();
        assert_eq!(cache.get(key(1)), Some(b"2".to_vec()));
    }

    #[test]
    fn it_stays_below_its_cap_and_the_newest_stay() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache { cap: 20_000, ..Cache::new(dir.path()) };
        for n in 0..40 {
            cache.put(key(n), &[n; 800]).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000 + u64::from(n));
            fs::File::options().write(true).open(cache.path(key(n))).unwrap().set_modified(time).unwrap();
        }
        cache.shrink();
        let left: Vec<u8> = (0..40).filter(|n| cache.get(key(*n)).is_some()).collect();
        assert!(left.len() < 22 && left.len() > 15, "{left:?}");
        assert_eq!(left.last(), Some(&39));
        assert!(left.windows(2).all(|w| w[1] == w[0] + 1), "the oldest went: {left:?}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_noticed_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        cache.try_out().unwrap();
        let left = fs::read_dir(&cache.folder).unwrap().flatten().flat_map(|d| fs::read_dir(d.path()).unwrap()).count();
        assert_eq!(left, 0);
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(Cache::new(&file).try_out().is_err());
        // A folder in the place of the fact: written beside, not renamed, nothing left.
        fs::create_dir_all(cache.path(key(5))).unwrap();
        assert!(cache.put(key(5), b"x").is_err());
        let beside = fs::read_dir(cache.path(key(5)).parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1);
    }

    #[test]
    fn many_writers_of_one_key_leave_one_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| (0..50).for_each(|_| cache.put(key(7), &[1; 4000]).unwrap()));
            }
        });
        assert_eq!(cache.get(key(7)), Some(vec![1; 4000]));
        let files = fs::read_dir(cache.path(key(7)).parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing is left beside it");
    }

    #[test]
    fn an_identity_leads_to_the_content_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let layer = &crate::source::open_embedded("x", crate::config::sample::WEIGHTS, "{}").unwrap().0.layers[0];
        assert_eq!(cache.recall(layer, "a file, a tensor"), None);
        cache.remember(layer, "a file, a tensor", key(3)).unwrap();
        assert_eq!(cache.recall(layer, "a file, a tensor"), Some(key(3)));
        assert_eq!(cache.recall(layer, "a file, another tensor"), None);
        assert_ne!(key(3).of("spectrum"), key(3).of("sketch"));
    }
}
