//! Memory-mapped bytes: the only `unsafe` in the house.

use std::fs::File;
use std::io;
use std::path::Path;

/// The bytes of one file, paged in by the system as they are touched.
#[derive(Debug)]
pub enum Mapped {
    /// A file on disk.
    File {
        /// Its pages.
        map: memmap2::Mmap,
        /// Kept open to ask for its length again.
        file: File,
    },
    /// Bytes inside the program.
    Embedded(&'static [u8]),
}

impl Mapped {
    /// Maps a file read-only. An empty file gives no bytes.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
        }
        if meta.len() == 0 {
            return Ok(Self::Embedded(&[]));
        }
        #[expect(
            unsafe_code,
            reason = "mapping is how a checkpoint larger than memory is read; the file is opened read-only, and bytes() \
                      re-checks its length before each tensor, which leaves a race only if it shrinks during a decode"
        )]
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self::File { map, file })
    }

    /// All bytes, as they were when the file was opened.
    pub fn all(&self) -> &[u8] {
        match self {
            Self::File { map, .. } => map,
            Self::Embedded(bytes) => bytes,
        }
    }

    /// All bytes, after checking that the file has not been cut short since: touching pages beyond its end would end
    /// the program.
    pub fn bytes(&self) -> io::Result<&[u8]> {
        if let Self::File { map, file } = self {
            let now = file.metadata()?.len();
            if now < map.len() as u64 {
                let text = format!("was cut short from {} to {now} bytes while open", map.len());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        }
        Ok(self.all())
    }
    /// Length and times of the file, which change when it is written; `None` for bytes of the program, and for a file
    /// written so recently that a second writing might leave the same times.
    pub fn identity(&self) -> Option<String> {
        let Self::File { file, .. } = self else { return None };
        let meta = file.metadata().ok()?;
        let modified = meta.modified().ok()?;
        let settled = modified.elapsed().is_ok_and(|age| age > std::time::Duration::from_secs(2));
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        #[cfg(unix)]
        let changed = {
            use std::os::unix::fs::MetadataExt;
            format!("{}.{}", meta.ctime(), meta.ctime_nsec())
        };
        #[cfg(not(unix))]
        let changed = "";
        settled.then(|| format!("{} {} {changed}", meta.len(), since.as_nanos()))
    }

    /// Gives the whole pages inside a range back to the system; touching them again reads them from the file again.
    pub fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if let Self::File { map, .. } = self
            && range.end <= map.len()
        {
            const PAGE: usize = 65536;
            let (from, to) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
            if from < to {
                #[expect(
                    unsafe_code,
                    reason = "DONTNEED loses writes; this map is read-only and backed by the file, so nothing is lost"
                )]
                // A system that does not take the advice keeps the pages: no harm.
                let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, from, to - from) };
            }
        }
    }
}
